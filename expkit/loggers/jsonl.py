"""metrics.jsonl: one point a line, values exact, whole lines only."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from expkit.core.formatting import is_number
from expkit.loggers.base import Logger, Point
from expkit.loggers.line_file import LineFile, read_lines


class JsonlLogger(Logger):
    """Writes each point as one line of JSON, at once, so that `tail -f` shows the run.

    resume_offset: bytes to keep of a file that is there: `size` when the checkpoint was made.
    """

    title = "metrics.jsonl"
    direct = True
    remedy = "free some space; the points are written then"

    def __init__(self, path: Path, resume_offset: int | None = None) -> None:
        self.path = path
        self._file = LineFile(path, resume_offset)

    @property
    def size(self) -> int:
        """Bytes of the file with every point so far."""
        return self._file.end

    def cut(self, size: int) -> None:
        """Drop what was written after the first `size` bytes: steps that will be repeated."""
        self._file.cut(size)

    def point(self, point: Point) -> None:
        self._file.write(json.dumps({"kind": point.kind, "epoch": point.epoch, "step": point.step, **point.values}))

    def flush(self) -> None:
        self._file.settle()

    def close(self, summary: Mapping[str, str]) -> None:
        self._file.close()


def read_points(path: Path, start: int = 0) -> Iterator[tuple[Point, int]]:
    """Yield (point, offset of its line's end) of the whole lines from an offset on, without what is no number."""
    for values, end in read_lines(path, start):
        kind, epoch, step = (values.pop(name, None) for name in ("kind", "epoch", "step"))
        if kind in ("step", "epoch") and all(type(one) is int and 0 <= one < 2**63 for one in (epoch, step)):
            yield Point(kind, epoch, step, {name: one for name, one in values.items() if is_number(one)}), end
