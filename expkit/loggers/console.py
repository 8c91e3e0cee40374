"""The terminal: a live bar where there is a terminal, plain lines where there is none."""

import sys
import time
from collections.abc import Iterable, Mapping

from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from expkit.core.escaping import printable
from expkit.core.terminal import Console
from expkit.loggers.base import Logger, Point, Progress, RunFacts, epoch_line
from expkit.loggers.eta import Pace, Pulse


class ConsoleLogger(Logger):
    """Shows a heading, a live bar, one line an epoch, and at the end a table of what came out and where it lies."""

    direct = True

    def __init__(self, console: Console | None = None) -> None:
        # Plain lines in a notebook too; and FORCE_COLOR asks for colours in a pipe, not for a bar that moves.
        self.console = console or Console(force_jupyter=False)
        self._live = self.console.is_terminal and not self.console.is_dumb_terminal
        self._live = self._live and (console is not None or sys.stdout.isatty())
        self._pace = Pace(Progress())
        self._bar: _LiveBar | None = None
        self._pulse: Pulse | None = None

    def start(self, facts: RunFacts) -> None:
        self._pace = Pace(facts.progress)
        self._rows(facts.lines)
        for note in facts.notes:
            self.message(note)
        if self._live:
            self._bar = _LiveBar(self._pace, self.console)
            self._bar.start()
        else:
            self._pulse = Pulse(self._pace, self.message)
            self._pulse.start()

    def point(self, point: Point) -> None:
        if point.kind == "epoch":
            self._pace.epoch_over(point)
            self._print(Text(epoch_line(point, self._pace.progress)))
        elif self._pulse:
            self._pulse.loss = point.values.get("loss")

    def message(self, text: str) -> None:
        self._print(Text(printable(text), style="yellow" if text.startswith("warning") else ""))

    def close(self, summary: Mapping[str, str]) -> None:
        if self._bar:
            self._bar.stop()
        if self._pulse:
            self._pulse.end()
        self._rows(summary)

    def _rows(self, rows: Mapping[str, str]) -> None:
        width = max(map(len, rows)) + 2
        for heading, text in rows.items():
            self._print(Text.assemble((heading.ljust(width), "bold"), printable(text)))

    def _print(self, text: Text) -> None:
        if self._pulse:
            self._pulse.written = time.monotonic()
        self.console.print(text, soft_wrap=True)  # lines stay whole in files and pipes


class _LiveBar(Bar):
    """A bar that reads the runner's progress each time it is drawn, so that a step costs the runner nothing."""

    def __init__(self, pace: Pace, console: Console) -> None:
        self._pace, self._source = pace, pace.progress  # before the base class, which draws at once
        self._stage = ("", 0)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        left = (TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[run]}", markup=False))
        super().__init__(*columns, *left, console=console, transient=True, refresh_per_second=8)
        self.add_task("", total=None, run="")

    def get_renderables(self) -> Iterable[RenderableType]:
        source = self._source
        for shown in self.task_ids:  # one, but for the very first drawing
            if self._stage != (source.stage, source.epoch):
                self._stage = (source.stage, source.epoch)
                self.reset(shown)
            text = f"epoch {source.epoch + 1}/{source.epochs}  {source.stage:5}"
            total, left = source.total or None, self._pace.text()
            self.update(shown, description=text, completed=source.done, total=total, run=left)
        yield self.make_tasks_table(self.tasks)
