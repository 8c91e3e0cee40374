"""metrics.jsonl: one point a line, values exact, whole lines only."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from expkit.loggers.base import Logger, Point


class JsonlLogger(Logger):
    """Writes each point as one line of JSON, at once, so that `tail -f` shows the run."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115  closed in close(); one write per line

    @property
    def size(self) -> int:
        """Bytes written, with all points so far."""
        return os.fstat(self._file.fileno()).st_size

    def cut(self, size: int) -> None:
        """Drop what was written after the first `size` bytes: steps that will be done anew."""
        self._file.truncate(min(size, self.size))

    def point(self, point: Point) -> None:
        line = {"kind": point.kind, "epoch": point.epoch, "step": point.step, **point.values}
        self._file.write((json.dumps(line) + "\n").encode())

    def close(self, summary: Mapping[str, str]) -> None:
        self._file.close()
