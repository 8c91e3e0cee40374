"""Loggers: each shows the points of a run in its own way, and none of them can end it."""

from expkit.loggers.base import LateLogger, Logger, Point, Progress, RunFacts
from expkit.loggers.console import ConsoleLogger
from expkit.loggers.hub import LoggerGuard
from expkit.loggers.jsonl import JsonlLogger
from expkit.loggers.mlflow import MlflowLogger
from expkit.loggers.tensorboard import TensorBoardLogger
from expkit.loggers.text import TextLogger
from expkit.loggers.visdom import VisdomLogger
from expkit.loggers.wandb import WandbLogger

__all__ = [
    "ConsoleLogger",
    "JsonlLogger",
    "LateLogger",
    "Logger",
    "LoggerGuard",
    "MlflowLogger",
    "Point",
    "Progress",
    "RunFacts",
    "TensorBoardLogger",
    "TextLogger",
    "VisdomLogger",
    "WandbLogger",
]
