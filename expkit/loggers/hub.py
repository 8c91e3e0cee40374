"""The one place where the runner hands over what happens: no logger behind it can end or slow a run."""

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

    One that raises, hangs or is down is named once; what it misses lies in the run folder and is sent when it is back.
    """

    def __init__(self, loggers: Sequence[Logger] = ()) -> None:
        self.progress = Progress()
        self.loggers: list[Logger] = []
        self.direct: list[Logger] = []
        self.couriers: list[BackgroundLogger] = []
        self._metrics: JsonlLogger | None = None
        self._store: FigureStore | None = None
        self._told: set[str] = set()
        self._lock = threading.RLock()  # messages also come from the couriers' threads
        self._folder = ""
        self._nodes: Mapping[str, Any] = {}
        self.attach(loggers)

    def attach(self, loggers: Sequence[Logger]) -> None:
        """Add loggers, before `start`."""
        self.loggers += loggers
        self.direct += [logger for logger in loggers if logger.direct]
        self.couriers += [BackgroundLogger(logger, self._report) for logger in loggers if not logger.direct]
        self._metrics = next((logger for logger in self.direct if isinstance(logger, JsonlLogger)), None)

    def start(self, facts: RunFacts) -> None:
        facts = _printable(facts)
        self.progress, self._folder = facts.progress, facts.folder
        self._nodes = facts.config.get("logger") or {}
        self._each(lambda logger: logger.start(facts))
        folder = Path(facts.folder) if self._metrics and Path(facts.folder).is_dir() else None
        exhibits_to = 0
        if folder is not None:
            try:
                self._store = FigureStore(folder, facts.first_step)
                exhibits_to = self._store.end
            except OSError as error:
                self._once("exhibits.jsonl", f"warning: exhibits cannot be kept: {error}")
        journal = Journal(self._metrics.path if self._metrics else None, folder)
        for courier in self.couriers:
            courier.begin(facts, journal, self.metrics_bytes(), exhibits_to)

    def point(self, point: Point) -> None:
        """Write a point to the local files and queue it for the rest: microseconds."""
        with self._lock:
            self._each(lambda logger: logger.point(point))
            item = Item(point, self._metrics.size if self._metrics else None)
            for courier in self.couriers:
                courier.backlog.put(item)
                if courier.hangs() and not courier.warned:
                    courier.warned = True
                    self._report(courier.slowness())

    def cut_metrics(self, size: int, step: int) -> None:
        """Cut metrics.jsonl back to `size` bytes and the exhibits to those up to `step`: later ones are made anew."""
        with self._lock:
            if self._metrics:
                self._metrics.cut(size)
            if self._store:
                self._store.cut(step)
            for courier in self.couriers:
                courier.backlog.cut(self.metrics_bytes(), self._store.end if self._store else 0)

    def show(self, exhibit: Figure) -> None:
        """Keep an exhibit in the run folder and queue it."""
        exhibit = escaped(exhibit)
        with self._lock:
            self._each(lambda logger: logger.show(exhibit))
            end = None
            if self._store is not None:
                try:
                    end = self._store.keep(exhibit)
                except (Held, OSError) as error:
                    self._once("exhibits.jsonl", f"warning: {exhibit.name} cannot be kept: {error}; free some space")
            for courier in self.couriers:
                courier.backlog.put(Item(exhibit, end))

    def message(self, text: str) -> None:
        text = one_line(text)
        with self._lock:
            self._each(lambda logger: logger.message(text))
            for courier in self.couriers:
                courier.backlog.put(Item(text))

    def flush(self) -> None:
        """Have the local files hold everything so far, as far as the disk lets them."""
        with self._lock:
            self._each(lambda logger: logger.flush())

    def metrics_bytes(self) -> int:
        """Return the size of metrics.jsonl with every point so far, to which a resumed run cuts it back."""
        return self._metrics.size if self._metrics else 0

    def close(self, summary: Mapping[str, str]) -> None:
        """Finish every logger, within CLOSING seconds; a backend that needs longer is left behind, by name."""
        shown = {heading: one_line(text) for heading, text in summary.items()}
        for title, where in self._places():
            if where not in shown.values():
                shown[f"see it in {title}"] = where
        for courier in self.couriers:
            courier.finish(shown)
        deadline = time.monotonic() + CLOSING
        for courier in self.couriers:
            if courier.ident is not None:
                courier.join(max(deadline - time.monotonic(), 0.0))
            if (courier.undelivered() or courier.backlog.lost) and courier.ident is not None:
                self._each(lambda logger, name=courier.title: logger.message(self._left(name)))  # type: ignore[misc]
        with self._lock:
            self._each(lambda logger: logger.close(shown))
            if self._store is not None:
                try:
                    self._store.close()
                except OSError as error:
                    print(f"warning: exhibits are lost: {error}", file=sys.stderr)

    def _places(self) -> list[tuple[str, str]]:
        backends = [courier.backend for courier in self.couriers]
        return [(backend.title, backend.where()) for backend in backends if backend.where()]

    def _left(self, name: str) -> str:
        plugins = [word for file in loaded_files() for word in ("--plugin", os.path.relpath(file))]
        words = ["python", "-m", "expkit", "replay", *plugins, str(self._folder), f"logger={name}"]
        command = " ".join([shlex.join(words), *_options(name, self._nodes.get(name) or {})])
        return f"warning: {name} has not got everything; {command} fills it"

    def _report(self, text: str) -> None:
        """Tell the user something about a backend, from any thread."""
        text = one_line(text)
        with self._lock:
            self._each(lambda logger: logger.message(text))

    def _once(self, about: str, text: str) -> None:
        if about not in self._told:
            self._told.add(about)
            self._report(text)

    def _each(self, call: Callable[[Logger], None]) -> None:
        for logger in list(self.direct):
            try:
                call(logger)
            except Held as error:
                self._once(logger.title, f"warning: {error}; {logger.remedy}")
            except Exception as error:  # whatever a logger raises, the run goes on
                self.direct.remove(logger)
                text = f"warning: {logger.title} failed and is left out: {type(error).__name__}: {error}"
                if isinstance(logger, ConsoleLogger):  # then nobody else would tell the user
                    print(text, file=sys.stderr)
                self._once(logger.title + " left out", text)


def _options(name: str, node: Mapping[str, Any]) -> list[str]:
    """Return as overrides what a backend was given: a replay begins with the choice as its file has it."""
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
