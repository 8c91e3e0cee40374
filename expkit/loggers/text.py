"""log.txt: what the console shows, as plain lines with the time."""

import time
from collections.abc import Mapping
from pathlib import Path

from expkit.loggers.base import Logger, Point, Progress, RunFacts, epoch_line
from expkit.loggers.line_file import LineFile


class TextLogger(Logger):
    """Writes headings, epochs and messages to a text file."""

    title = "log.txt"
    direct = True
    remedy = "free some space; the lines are written then"

    def __init__(self, path: Path) -> None:
        self._file = LineFile(path)
        self._progress = Progress()

    def start(self, facts: RunFacts) -> None:
        self._progress = facts.progress
        for heading, text in facts.lines.items():
            self.message(f"{heading}: {text}")
        for note in facts.notes:
            self.message(note)

    def point(self, point: Point) -> None:
        if point.kind == "epoch":
            self.message(epoch_line(point, self._progress))

    def message(self, text: str) -> None:
        self._file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}")

    def flush(self) -> None:
        self._file.settle()

    def close(self, summary: Mapping[str, str]) -> None:
        for heading, text in summary.items():
            self.message(f"{heading}: {text}")
        self._file.close()
