"""What a logger does to the global generators between two steps does not shift the run: each step has its own key.

One that draws in its thread in the very midst of a step can: the generators belong to the whole process.
"""

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from expkit.config.hydra_loader import Config
from expkit.loggers import background
from expkit.loggers.base import Logger, Point, RunFacts
from expkit.loggers.jsonl import JsonlLogger
from expkit.runs.build import build

Compose = Callable[..., Config]


class Draws(Logger):
    """A user's logger that seeds all global generators and draws from them, at every point."""

    def __init__(self) -> None:
        self.points = 0

    def point(self, point: Point) -> None:
        self.points += 1
        random.seed(point.step)
        np.random.seed(point.step)
        torch.manual_seed(point.step)
        random.random(), np.random.rand(), torch.rand(3)


class DrawsAtOnce(Draws):
    direct = True


def weights(config: Config, folder: Path, *backends: Logger) -> list[torch.Tensor]:
    folder.mkdir()
    trainer = build(config).trainer
    guard = trainer.observers.logger
    guard.attach([JsonlLogger(folder / "metrics.jsonl"), *backends])
    guard.start(RunFacts("r", str(folder), {}, {"run": "r"}))
    take = guard.point

    def waits(point: Point) -> None:
        take(point)
        while any(one.undelivered() for one in guard.background):
            time.sleep(0.001)

    guard.point = waits  # type: ignore[method-assign]
    trainer.run()
    guard.close({})
    return list(trainer.state.model.state_dict().values())


@pytest.mark.parametrize("logger", [DrawsAtOnce(), Draws()], ids=["in the run's thread", "in its own thread"])
def test_the_weights_are_the_same(
    small_config: Compose, tmp_path: Path, logger: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "_PAUSE", 0.01)
    flips = "transforms.train=[{name: RandomResizedCrop, size: 32}, {name: RandomHorizontalFlip}]"
    config = small_config("log_every=1", "model.dropout=0.5", "batch_size=8", flips)
    expected = weights(config, tmp_path / "bare")
    ours = weights(config, tmp_path / "drawing", logger)
    assert logger.points == 12
    assert all(torch.equal(one, other) for one, other in zip(ours, expected, strict=True))
