"""The terminal: a live bar where there is a terminal, plain lines where there is none."""

import sys
from collections.abc import Iterable, Mapping

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from expkit.loggers.base import Logger, Point, Progress, RunFacts, epoch_line


class ConsoleLogger(Logger):
    """Shows a heading, a live bar, one line an epoch, and at the end a table of what came out and where it lies."""

    direct = True

    def __init__(self, console: Console | None = None) -> None:
        # Plain lines in a notebook too; and FORCE_COLOR asks for colours in a pipe, not for a bar that moves.
        self.console = console or Console(force_jupyter=False)
        self._live = self.console.is_terminal and not self.console.is_dumb_terminal
        self._live = self._live and (console is not None or sys.stdout.isatty())
        self._progress = Progress()
        self._bar: _LiveBar | None = None

    def start(self, facts: RunFacts) -> None:
        self._progress = facts.progress
        self._rows(facts.lines)
        for note in facts.notes:
            self.message(note)
        if self._live:
            self._bar = _LiveBar(facts.progress, self.console)
            self._bar.start()

    def point(self, point: Point) -> None:
        if point.kind == "epoch":
            self._print(Text(epoch_line(point, self._progress)))

    def message(self, text: str) -> None:
        self._print(Text(text, style="yellow" if text.startswith("warning") else ""))

    def close(self, summary: Mapping[str, str]) -> None:
        if self._bar:
            self._bar.stop()
        self._rows(summary)

    def _rows(self, rows: Mapping[str, str]) -> None:
        width = max(map(len, rows)) + 2
        for heading, text in rows.items():
            self._print(Text.assemble((heading.ljust(width), "bold"), text))

    def _print(self, text: Text) -> None:
        self.console.print(text, soft_wrap=True)  # lines stay whole in files and pipes


class _LiveBar(Bar):
    """A bar that reads the runner's progress each time it is drawn, so that a step costs the runner nothing."""

    def __init__(self, progress: Progress, console: Console) -> None:
        self._source = progress  # before the base class, which draws at once
        self._stage = ("", 0)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        left = (TextColumn("left"), TimeRemainingColumn())
        super().__init__(*columns, *left, console=console, transient=True, refresh_per_second=8)
        self.add_task("", total=None)

    def get_renderables(self) -> Iterable[RenderableType]:
        source = self._source
        for shown in self.task_ids:  # one, but for the very first drawing
            if self._stage != (source.stage, source.epoch):
                self._stage = (source.stage, source.epoch)
                self.reset(shown)
            text = f"epoch {source.epoch + 1}/{source.epochs}  {source.stage:5}"
            self.update(shown, description=text, completed=source.done, total=source.total or None)
        yield self.make_tasks_table(self.tasks)
