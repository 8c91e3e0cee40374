"""Scalars for TensorBoard, written by tensorboardX."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from expkit.loggers.base import Logger, Point, RunFacts
from expkit.registry import ConfigError, loggers


class TensorBoardLogger(Logger):
    """Writes event files into the run folder; `tensorboard --logdir outputs` shows all runs by their folders' names."""

    def __init__(self, folder: Path, flush_seconds: int) -> None:
        self.folder, self.flush_seconds = folder, flush_seconds
        self._writer: Any = None

    def start(self, facts: RunFacts) -> None:
        from tensorboardX import SummaryWriter  # 0.1 s, and only where it is used

        self._writer = SummaryWriter(str(self.folder), flush_secs=self.flush_seconds)

    def point(self, point: Point) -> None:
        for name, value in point.values.items():
            tag = name if "/" in name else f"{point.kind}/{name}"
            self._writer.add_scalar(tag, value, point.step)

    def message(self, text: str) -> None:
        pass

    def close(self, summary: Mapping[str, str]) -> None:
        self._writer.close()


@loggers.register("tensorboard")
def tensorboard(folder: Path, flush_seconds: int = 30) -> TensorBoardLogger:
    """Event files for TensorBoard in the run folder."""
    if flush_seconds < 1:
        raise ConfigError(f"logger.tensorboard.flush_seconds: takes a whole number from 1 up, got {flush_seconds}")
    return TensorBoardLogger(folder, flush_seconds)
