"""The one place where the trainer reports what happens: no logger behind it can end or slow a run."""

import json
import os
import shlex
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from expkit.config.plugins import loaded_files
from expkit.config.registry import loggers
from expkit.core.escaping import as_override, one_line
from expkit.loggers.background import BackgroundLogger
from expkit.loggers.backlog import Item, Journal
from expkit.loggers.base import Held, Logger, Point, Progress, RunFacts
from expkit.loggers.console import ConsoleLogger
from expkit.loggers.figure_store import FigureStore
from expkit.loggers.figures import Figure, escaped
from expkit.loggers.jsonl import JsonlLogger

CLOSING = 5.0  # seconds that all backends together may take to finish


class LoggerHub:
    """Feeds every logger: local ones at once and in order, every other from a thread of its own.

    One that raises, hangs or is down is named once; what it misses is in the run folder and is sent when it is back.
    """

    def __init__(self, loggers: Sequence[Logger] = ()) -> None:
        self.progress = Progress()
        self.loggers: list[Logger] = []
        self.direct: list[Logger] = []
        self.background: list[BackgroundLogger] = []
        self._metrics: JsonlLogger | None = None
        self._store: FigureStore | None = None
        self._warned_of: set[str] = set()
        self._lock = threading.RLock()  # messages also come from the threads of the others
        self._folder = ""
        self._nodes: Mapping[str, Any] = {}
        self.attach(loggers)

    def attach(self, loggers: Sequence[Logger]) -> None:
        """Add loggers, before `start`."""
        self.loggers += loggers
        self.direct += [logger for logger in loggers if logger.direct]
        self.background += [BackgroundLogger(logger, self._report) for logger in loggers if not logger.direct]
        self._metrics = next((logger for logger in self.direct if isinstance(logger, JsonlLogger)), None)

    def start(self, facts: RunFacts) -> None:
        facts = _printable(facts)
        self.progress, self._folder = facts.progress, facts.folder
        self._nodes = facts.config.get("logger") or {}
        self._each(lambda logger: logger.start(facts))
        folder = Path(facts.folder) if self._metrics and Path(facts.folder).is_dir() else None
        figures_to = 0
        if folder is not None:
            try:
                self._store = FigureStore(folder, facts.first_step)
                figures_to = self._store.end
            except OSError as error:
                self._once("exhibits.jsonl", f"warning: figures cannot be kept: {error}")
        journal = Journal(self._metrics.path if self._metrics else None, folder)
        for thread in self.background:
            thread.begin(facts, journal, self.metrics_bytes(), figures_to)

    def point(self, point: Point) -> None:
        """Write a point to the local files and queue it for the rest: microseconds."""
        with self._lock:
            self._each(lambda logger: logger.point(point))
            item = Item(point, self._metrics.size if self._metrics else None)
            for thread in self.background:
                thread.backlog.put(item)
                if thread.hangs() and not thread.warned:
                    thread.warned = True
                    self._report(thread.slowness())

    def cut_metrics(self, size: int, step: int) -> None:
        """Cut metrics.jsonl back to `size` bytes and the figures to those up to `step`: later ones are made again."""
        with self._lock:
            if self._metrics:
                self._metrics.cut(size)
            if self._store:
                self._store.cut(step)
            for thread in self.background:
                thread.backlog.cut(self.metrics_bytes(), self._store.end if self._store else 0)

    def show(self, figure: Figure) -> None:
        """Keep a figure in the run folder and queue it."""
        figure = escaped(figure)
        with self._lock:
            self._each(lambda logger: logger.show(figure))
            end = None
            if self._store is not None:
                try:
                    end = self._store.keep(figure)
                except (Held, OSError) as error:
                    self._once("exhibits.jsonl", f"warning: {figure.name} cannot be kept: {error}; free some space")
            for thread in self.background:
                thread.backlog.put(Item(figure, end))

    def message(self, text: str) -> None:
        text = one_line(text)
        with self._lock:
            self._each(lambda logger: logger.message(text))
            for thread in self.background:
                thread.backlog.put(Item(text))

    def flush(self) -> None:
        """Write everything so far to the local files, as far as the disk has room."""
        with self._lock:
            self._each(lambda logger: logger.flush())

    def metrics_bytes(self) -> int:
        """Return the size of metrics.jsonl with every point so far, to which a resumed run cuts it back."""
        return self._metrics.size if self._metrics else 0

    def close(self, summary: Mapping[str, str]) -> None:
        """Finish every logger, within CLOSING seconds; a backend that needs longer is left behind, by name."""
        shown = {heading: one_line(text) for heading, text in summary.items()}
        for logger in (thread.backend for thread in self.background):
            if (where := logger.where()) and where not in shown.values():
                shown[f"see it in {logger.title}"] = where
        for thread in self.background:
            thread.finish(shown)
        deadline = time.monotonic() + CLOSING
        for thread in self.background:
            if thread.ident is None:
                continue
            thread.join(max(deadline - time.monotonic(), 0.0))
            if thread.undelivered() or thread.backlog.lost:
                self._report(self._replay_hint(thread.title))
        with self._lock:
            self._each(lambda logger: logger.close(shown))
            if self._store is not None:
                try:
                    self._store.close()
                except OSError as error:
                    print(f"warning: figures are lost: {error}", file=sys.stderr)

    def _replay_hint(self, name: str) -> str:
        plugins = [word for file in loaded_files() for word in ("--plugin", os.path.relpath(file))]
        words = ["python", "-m", "expkit", "replay", *plugins, str(self._folder), f"logger={name}"]
        command = " ".join([shlex.join(words), *_options(name, self._nodes.get(name) or {})])
        return f"warning: {name} has not received everything; {command} fills it"

    def _report(self, text: str) -> None:
        """Show the user a message about a backend, from any thread."""
        text = one_line(text)
        with self._lock:
            self._each(lambda logger: logger.message(text))

    def _once(self, about: str, text: str) -> None:
        if about not in self._warned_of:
            self._warned_of.add(about)
            self._report(text)

    def _each(self, call: Callable[[Logger], None]) -> None:
        for logger in list(self.direct):
            try:
                call(logger)
            except Held as error:
                self._once(logger.title, f"warning: {error}; {logger.remedy}")
            except Exception as error:  # whatever a logger raises, the run continues
                self.direct.remove(logger)
                text = f"warning: {logger.title} failed and is left out: {type(error).__name__}: {error}"
                if isinstance(logger, ConsoleLogger):  # then nothing else would show it
                    print(text, file=sys.stderr)
                self._once(logger.title + " left out", text)


def _options(name: str, node: Mapping[str, Any]) -> list[str]:
    """Return the overrides that a backend was given: a replay begins with the choice as its file has it."""
    if node.get("name") not in loggers.names():
        return []
    known = loggers.options(node["name"])
    given = {key: value for key, value in node.items() if key in known and value != known[key].default}
    return [
        as_override(f"logger.{name}.{key}", value)
        if isinstance(value, str)
        else shlex.quote(f"logger.{name}.{key}={json.dumps(value)}")
        for key, value in given.items()
    ]


def _printable(facts: RunFacts) -> RunFacts:
    """Return the facts with headings and notes that no class or file of others can break out of."""
    lines = {heading: one_line(text) for heading, text in facts.lines.items()}
    return replace(facts, lines=lines, notes=[one_line(note) for note in facts.notes])
