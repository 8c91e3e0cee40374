"""What a backend has not received yet: in memory, and beyond that in the files of the run folder."""

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from expkit.loggers.base import Point
from expkit.loggers.figure_store import read_figures
from expkit.loggers.figures import Figure
from expkit.loggers.jsonl import read_points

MOST_WAITING = 5_000  # items in memory; beyond it they are read back from the run folder
MOST_BYTES = 64 * 2**20  # of pictures, embeddings, ... in memory


class Item(NamedTuple):
    """What is delivered; end: where it ends in the run folder's metrics.jsonl or exhibits.jsonl."""

    content: Point | Figure | str
    end: int | None = None


@dataclass
class Journal:
    """The files of a run folder that hold every point and figure, None where a run has none."""

    metrics: Path | None = None
    folder: Path | None = None

    def read(self, points_from: int, figures_from: int) -> Iterator[Item]:
        """Yield what comes after the two offsets, points first."""
        if self.metrics:
            yield from (Item(point, end) for point, end in read_points(self.metrics, points_from))
        if self.folder:
            yield from (Item(figure, end) for figure, end in read_figures(self.folder, figures_from))


class Backlog:
    """What a backend has not received yet: a bounded queue, and beyond it the journal from two offsets on.

    lost: items that no file holds and that found no room; waiting: items given and not delivered; was_cut: the journal
    was cut back, so that a backend that can starts empty; cuts: how often it was.
    """

    def __init__(self) -> None:
        self.journal = Journal()
        self.queue: deque[Item] = deque()
        self.lost = self.waiting = self.cuts = 0
        self.was_cut = False
        self._lock = threading.Lock()
        self._bytes = 0
        self._behind = False
        self._points_to = self._figures_to = 0  # delivered, as offsets in the journal

    def begin(self, journal: Journal, points_to: int, figures_to: int) -> None:
        """Begin; what the journal holds up to the two offsets was delivered before the resume."""
        self.journal, self._points_to, self._figures_to = journal, points_to, figures_to

    @property
    def is_begun(self) -> bool:
        """True if anything of the journal is delivered."""
        return bool(self._points_to or self._figures_to)

    def put(self, item: Item) -> None:
        """Queue an item: microseconds."""
        with self._lock:
            self.waiting += 1
            if self._behind and item.end is not None:
                return  # the journal has it
            if len(self.queue) >= MOST_WAITING or self._bytes > MOST_BYTES:
                self._fall_behind()
                if item.end is not None:
                    return
            self.queue.append(item)
            self._bytes += _size(item)

    def _fall_behind(self) -> None:
        """Leave to the journal what it holds; drop and count what only memory held."""
        kept = [item for item in self.queue if item.end is None][-MOST_WAITING // 2 :]
        unfiled = sum(item.end is None for item in self.queue) - len(kept)
        self.lost += unfiled
        self.waiting -= unfiled
        self._behind = True
        self.queue = deque(kept)
        self._bytes = sum(map(_size, kept))

    def cut(self, points_to: int, figures_to: int) -> None:
        """Forget what the run repeats: all beyond two offsets, to which the journal has been cut back."""
        with self._lock:
            ends = {True: points_to, False: figures_to}
            kept = [item for item in self.queue if (item.end or 0) <= ends[isinstance(item.content, Point)]]
            self.waiting -= len(self.queue) - len(kept)
            self.queue, self._bytes = deque(kept), sum(map(_size, kept))
            self._points_to, self._figures_to = min(self._points_to, points_to), min(self._figures_to, figures_to)
            self.cuts += 1
            self.was_cut = True

    def first(self) -> Item | None:
        """Return the first item that waits, in the journal if it is behind, without taking it away."""
        with self._lock:
            if not self._behind:
                return self.queue[0] if self.queue else None
        if item := self._next_in_journal():
            return item
        with self._lock:  # what came meanwhile is still in the journal
            item = self._next_in_journal()
            self._behind = item is not None
            return item or (self.queue[0] if self.queue else None)

    def _next_in_journal(self) -> Item | None:
        return next(self.journal.read(self._points_to, self._figures_to), None)

    def delivered(self, item: Item, cuts: int) -> None:
        """Take away an item; cuts: as they were before it was delivered."""
        with self._lock:
            if self.queue and self.queue[0] is item:
                self.queue.popleft()
                self._bytes -= _size(item)
            if item.end is None or cuts != self.cuts:  # cut meanwhile, its end is no place in the journal any more
                return
            if isinstance(item.content, Point):
                self._points_to = item.end
            else:
                self._figures_to = item.end

    def settle(self) -> None:
        """Count what waits now that everything was delivered."""
        with self._lock:
            self.waiting = len(self.queue)

    def rewind(self) -> None:
        """Deliver everything in the journal again, to a backend that starts empty."""
        if self.journal.metrics or self.journal.folder:
            with self._lock:
                self._fall_behind()
                self._points_to = self._figures_to = 0
                self.waiting = max(self.waiting, 1)


def _size(item: Item) -> int:
    """Return about how many bytes of memory an item takes."""
    if isinstance(item.content, Figure):
        return 200 + sum(map(_bytes, vars(item.content).values()))
    return 200


def _bytes(value: object) -> int:
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, Mapping):
        return sum(map(_bytes, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(_bytes, value))
    return 50 + (len(value) if isinstance(value, str) else 0)
