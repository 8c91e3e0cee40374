"""How much longer a run takes, and a line now and then where no bar can move."""

import threading
import time
from collections.abc import Callable

from expkit.core.formatting import duration
from expkit.loggers.base import Point, Progress

QUIET_SECONDS = 30.0  # without a line, after which one is due


class Pace:
    """Estimates the end of a run from the epochs so far, in the first from its steps."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self._epochs: list[float] = []  # seconds
        self._began = time.monotonic()  # of the epoch

    def epoch_over(self, point: Point) -> None:
        self._epochs.append(point.values["seconds"])
        self._began = time.monotonic()

    def left(self) -> float | None:
        """Return the seconds that the run still takes, None while nothing is known."""
        progress, spent = self.progress, time.monotonic() - self._began
        if self._epochs:
            an_epoch = sum(self._epochs[-3:]) / len(self._epochs[-3:])
        elif progress.stage == "train" and progress.done:
            an_epoch = spent / progress.done * progress.total
        else:
            return None
        return max((progress.epochs - progress.epoch) * an_epoch - spent, 0.0)

    def text(self) -> str:
        """Return the time left as text, e.g. `run: 1 h 5 min left`."""
        return "" if (left := self.left()) is None else f"run: {duration(left)} left"


class Pulse(threading.Thread):
    """Writes a line of progress whenever nothing else has been written for a while."""

    def __init__(self, pace: Pace, write: Callable[[str], None]) -> None:
        super().__init__(name="progress lines", daemon=True)
        self._pace, self._write = pace, write
        self._over = threading.Event()
        self.written = time.monotonic()
        self.loss: float | None = None

    def run(self) -> None:
        while not self._over.wait(max(self.written + QUIET_SECONDS - time.monotonic(), 0.05)):
            if time.monotonic() - self.written >= QUIET_SECONDS:
                self._write(self.line())

    def line(self) -> str:
        progress = self._pace.progress
        parts = [f"epoch {progress.epoch + 1}/{progress.epochs}", f"{progress.stage} {progress.done}/{progress.total}"]
        parts += [] if self.loss is None else [f"loss {self.loss:.4f}"]
        return "  ".join([*parts, self._pace.text()]).rstrip()

    def end(self) -> None:
        self._over.set()
        self.join(1.0)
