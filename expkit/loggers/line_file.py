"""A file of whole lines that survives a full disk: what cannot be written waits, and never leaves half a line."""

import json
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from expkit.core.escaping import json_bytes
from expkit.loggers.base import Held

MOST_HELD = 100_000  # lines, about 20 MB


class LineFile:
    """Appends lines at once, each by one write; end: bytes of the file when all lines given so far are in it.

    start: keep only so many bytes of a file that is there. A line that an earlier process left unfinished is cut off.
    """

    def __init__(self, path: Path, start: int | None = None) -> None:
        self.path = path
        self._file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o666)
        self._size = _whole(self._file, start)
        os.ftruncate(self._file, self._size)
        self.end = self._size
        self._held: deque[bytes] = deque()

    def write(self, line: str) -> None:
        """Write a line, without its line end. Raises Held when it has to wait, OSError when too many are waiting."""
        encoded = json_bytes(line) + b"\n"
        if len(self._held) >= MOST_HELD:
            raise OSError(f"{MOST_HELD:,} lines are waiting to be written to {self.path}; this one is not kept")
        self._held.append(encoded)
        self.end += len(encoded)
        self.settle()

    def settle(self) -> None:
        """Write what waits. Raises Held when it has to wait longer."""
        while self._held:
            try:
                written = os.write(self._file, self._held[0])
                if written < len(self._held[0]):
                    raise OSError("the disk is full")
            except OSError as error:
                os.ftruncate(self._file, self._size)
                waiting = f"{len(self._held):,} lines wait in memory" if len(self._held) > 1 else "its line waits"
                raise Held(f"{self.path}: {error.strerror or error}; {waiting}") from error
            self._size += written
            self._held.popleft()

    def cut(self, size: int) -> None:
        """Drop what was written after the first `size` bytes, and what waits."""
        self._held.clear()
        self._size = self.end = min(size, self._size)
        os.ftruncate(self._file, self._size)

    def close(self) -> None:
        """Write what waits, and close. Raises OSError for lines that are lost."""
        try:
            self.settle()
        except Held as error:
            raise OSError(f"{len(self._held):,} lines are lost: {error}") from error
        finally:
            os.close(self._file)


def read_lines(path: Path, start: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield (content, offset of its end) of the whole lines of JSON in a file, from an offset on; damaged ones not."""
    with open(path, "rb") as file:
        file.seek(start)
        for line in file:
            if not line.endswith(b"\n"):
                return
            start += len(line)
            try:
                content = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(content, dict):
                yield content, start


def _whole(file: int, start: int | None) -> int:
    """Return how many bytes of a file to keep: its whole lines, or the first `start` bytes."""
    size = os.fstat(file).st_size
    if start is not None:
        return min(start, size)
    end = size
    while end and os.pread(file, 1, end - 1) != b"\n":
        end -= 1
    return end
