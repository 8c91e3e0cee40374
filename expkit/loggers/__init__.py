"""Loggers: each shows the points of a run in its own way, and none of them can end it."""

from expkit.loggers.base import LazyLogger, Logger, Point, Progress, RunFacts
from expkit.loggers.console import ConsoleLogger
from expkit.loggers.hub import LoggerHub
from expkit.loggers.jsonl import JsonlLogger
from expkit.loggers.mlflow import MlflowLogger
from expkit.loggers.tensorboard import TensorBoardLogger
from expkit.loggers.text import TextLogger
from expkit.loggers.visdom import VisdomLogger
from expkit.loggers.wandb import WandbLogger

__all__ = [
    "ConsoleLogger",
    "JsonlLogger",
    "LazyLogger",
    "Logger",
    "LoggerHub",
    "MlflowLogger",
    "Point",
    "Progress",
    "RunFacts",
    "TensorBoardLogger",
    "TextLogger",
    "VisdomLogger",
    "WandbLogger",
]
