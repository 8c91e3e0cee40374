"""The one place where the runner hands over what happens: no logger behind it can end a run."""

import sys
from collections.abc import Callable, Mapping, Sequence

from expkit.loggers.base import Logger, Point, Progress, RunFacts
from expkit.loggers.console import ConsoleLogger
from expkit.loggers.exhibits import Exhibit
from expkit.loggers.jsonl import JsonlLogger


class LoggerGuard:
    """Feeds every logger; one that raises is named once, with its reason, and left out from then on."""

    def __init__(self, loggers: Sequence[Logger] = ()) -> None:
        self.loggers = list(loggers)
        self.progress = Progress()

    def start(self, facts: RunFacts) -> None:
        self.progress = facts.progress
        self._each(lambda logger: logger.start(facts))

    def point(self, point: Point) -> None:
        self._each(lambda logger: logger.point(point))

    def metrics_bytes(self) -> int:
        """Return how long metrics.jsonl is, with all points so far; 0 where there is none."""
        return sum(logger.size for logger in self.loggers if isinstance(logger, JsonlLogger))

    def cut_metrics(self, size: int) -> None:
        """Cut metrics.jsonl back to the points that a checkpoint knows of."""
        for logger in self.loggers:
            if isinstance(logger, JsonlLogger):
                logger.cut(size)

    def show(self, exhibit: Exhibit) -> None:
        self._each(lambda logger: logger.show(exhibit))

    def message(self, text: str) -> None:
        self._each(lambda logger: logger.message(text))

    def close(self, summary: Mapping[str, str]) -> None:
        self._each(lambda logger: logger.close(summary))

    def _each(self, call: Callable[[Logger], None]) -> None:
        for logger in list(self.loggers):
            try:
                call(logger)
            except Exception as error:  # whatever a backend raises, the run goes on
                self.loggers.remove(logger)
                name = type(logger).__name__
                text = f"warning: {name} failed and is left out from here on: {type(error).__name__}: {error}"
                if isinstance(logger, ConsoleLogger):  # then nobody else would tell the user
                    print(text, file=sys.stderr)
                self.message(text)
