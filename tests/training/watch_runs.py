"""Runs that are watched, for tests: short ones, with everything they show kept."""

from collections.abc import Callable

import torch

from expkit.config.hydra_loader import Config
from expkit.loggers.base import Logger, Point
from expkit.loggers.figures import Figure
from expkit.runs.build import build
from expkit.training.trainer import Trainer


class Shown(Logger):
    """Keeps what it is shown."""

    direct = True

    def __init__(self) -> None:
        self.exhibits: list[Figure] = []
        self.points: list[Point] = []
        self.messages: list[str] = []

    def show(self, exhibit: Figure) -> None:
        self.exhibits.append(exhibit)

    def point(self, point: Point) -> None:
        self.points.append(point)

    def message(self, text: str) -> None:
        self.messages.append(text)

    def of(self, name: str) -> list[Figure]:
        return [exhibit for exhibit in self.exhibits if exhibit.name == name]


def watched(config: Config) -> tuple[Trainer, Shown]:
    """Return a trainer that has run, and what it showed."""
    trainer, shown = build(config).trainer, Shown()
    trainer.observers.logger.attach([shown])
    trainer.run()
    return trainer, shown


def weights(trainer: Trainer) -> torch.Tensor:
    return torch.cat([value.flatten().double() for value in trainer.state.model.state_dict().values()])


Compose = Callable[..., Config]
