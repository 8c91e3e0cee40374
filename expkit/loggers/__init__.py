"""Loggers: each shows the points of a run in its own way, and none of them can end it."""

from expkit.loggers import mlflow, tensorboard, visdom, wandb  # noqa: F401  each registers itself
