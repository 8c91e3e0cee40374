"""metrics.jsonl: one point a line, values exact, whole lines only."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from expkit.loggers.base import Logger, Point
from expkit.loggers.line_file import LineFile, read_lines


class JsonlLogger(Logger):
    """Writes each point as one line of JSON, at once, so that `tail -f` shows the run.

    resume_offset: bytes to keep of a file that is there, as `size` told when the checkpoint was made.
    """

    direct = True
    remedy = "free some space; the points are written then"

    def __init__(self, path: Path, resume_offset: int | None = None) -> None:
        self.path = path
        self._file = LineFile(path, resume_offset)

    @property
    def title(self) -> str:
        return "metrics.jsonl"

    @property
    def size(self) -> int:
        """Bytes of the file with every point so far."""
        return self._file.end

    def cut(self, size: int) -> None:
        """Drop what was written after the first `size` bytes: steps that will be done anew."""
        self._file.cut(size)

    def point(self, point: Point) -> None:
        self._file.write(json.dumps({"kind": point.kind, "epoch": point.epoch, "step": point.step, **point.values}))

    def flush(self) -> None:
        self._file.settle()

    def close(self, summary: Mapping[str, str]) -> None:
        self._file.close()


def read_points(path: Path, start: int = 0) -> Iterator[tuple[Point, int]]:
    """Yield (point, offset of its line's end) of the whole lines from an offset on."""
    for values, end in read_lines(path, start):
        if isinstance(values.get("step"), int) and isinstance(values.get("epoch"), int) and "kind" in values:
            yield Point(values.pop("kind"), values.pop("epoch"), values.pop("step"), values), end
