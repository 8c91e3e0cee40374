"""A logger of somebody else's making, which is made only when its thread runs: that too may fail or hang."""

from collections.abc import Callable, Mapping

from expkit.loggers.base import Logger, Point, RunFacts
from expkit.loggers.exhibits import Exhibit


class LateLogger(Logger):
    """Makes the logger that `build` returns when it is started, and passes everything on."""

    def __init__(self, name: str, build: Callable[[], Logger]) -> None:
        self._name, self._build = name, build
        self._logger: Logger | None = None

    @property
    def title(self) -> str:
        return self._name

    def start(self, facts: RunFacts) -> None:
        self._logger = self._logger or self._build()
        self._logger.start(facts)

    def point(self, point: Point) -> None:
        self._made().point(point)

    def show(self, exhibit: Exhibit) -> None:
        self._made().show(exhibit)

    def message(self, text: str) -> None:
        self._made().message(text)

    def flush(self) -> None:
        self._made().flush()

    def where(self) -> str:
        return self._logger.where() if self._logger else ""

    def close(self, summary: Mapping[str, str]) -> None:
        self._made().close(summary)

    def _made(self) -> Logger:
        assert self._logger is not None, "start makes it"
        return self._logger
