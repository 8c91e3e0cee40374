"""A thread that feeds one backend: whatever the backend does, nobody waits for it."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from expkit.loggers.base import Logger, Point, RunFacts
from expkit.loggers.figure_store import read_exhibits
from expkit.loggers.figures import Figure
from expkit.loggers.jsonl import read_points

MOST_WAITING = 5_000  # items in memory; beyond it they are read back from the run folder
MOST_BYTES = 64 * 2**20  # of pictures, embeddings, ... in memory
_PAUSE = 0.25  # seconds between deliveries: many points go in one call
_LONGEST_PAUSE = 5.0  # seconds between attempts
MOST_ATTEMPTS = 3  # at one exhibit, before it is passed over
PATIENCE = 10.0  # seconds after which a call is said to hang


class Item(NamedTuple):
    """What is delivered; end: where it ends in the run folder's metrics.jsonl or exhibits.jsonl."""

    content: Point | Figure | str
    end: int | None = None


@dataclass
class Journal:
    """The files of a run folder that hold every point and exhibit, None where a run has none."""

    metrics: Path | None = None
    folder: Path | None = None

    def read(self, points_from: int, exhibits_from: int) -> Iterator[Item]:
        """Yield what comes after two offsets, points first."""
        if self.metrics:
            yield from (Item(point, end) for point, end in read_points(self.metrics, points_from))
        if self.folder:
            yield from (Item(exhibit, end) for exhibit, end in read_exhibits(self.folder, exhibits_from))


class BackgroundLogger(threading.Thread):
    """Keeps a bounded queue for one backend and delivers from it; behind, it reads from the journal instead.

    report: takes a sentence for the user.
    """

    def __init__(self, backend: Logger, report: Callable[[str], None]) -> None:
        self.title, self.backend, self.report = backend.title, backend, report
        # A daemon: a backend that hangs must not hold Python up.
        super().__init__(name=f"logger {self.title}", daemon=True)
        self.journal, self.facts = Journal(), RunFacts("", "", {}, {})
        self.summary: Mapping[str, str] = {}
        self.warned = False  # one warning an outage; the first names the remedy
        self.lost = 0  # items that no file holds and that found no room
        self.done = False
        self.again = False  # the journal was cut back: a backend that can starts empty
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._queue: deque[Item] = deque()
        self._bytes = 0
        self._behind = False
        self._cuts = 0  # how often the journal was cut back
        self._points_to = self._exhibits_to = 0  # delivered, as offsets in the journal
        self._waiting = 0  # items given and not delivered
        self._closing = False
        self._ready = False
        self._busy_since = 0.0
        self._at: Item | None = None  # what is being delivered
        self._refused: dict[str, int] = {}  # exhibits -> how often the backend failed at them

    # ---- called by the run ---------------------------------------------------------------------------------

    def begin(self, facts: RunFacts, journal: Journal, points_to: int, exhibits_to: int) -> None:
        """Start delivering; what the journal holds up to two offsets is of an earlier part of the run."""
        self.facts, self.journal = facts, journal
        self._points_to, self._exhibits_to = points_to, exhibits_to
        self.start()

    def put(self, item: Item) -> None:
        """Queue an item: microseconds."""
        with self._lock:
            self._waiting += 1
            if self._behind and item.end is not None:
                return  # the journal has it
            if len(self._queue) >= MOST_WAITING or self._bytes > MOST_BYTES:
                self._fall_behind()
                if item.end is not None:
                    return
            self._queue.append(item)
            self._bytes += _size(item)

    def _fall_behind(self) -> None:
        """Leave to the journal what it holds, and to nobody what only memory held, which is counted."""
        kept = [item for item in self._queue if item.end is None][-MOST_WAITING // 2 :]
        unfiled = sum(item.end is None for item in self._queue) - len(kept)
        self.lost += unfiled
        self._waiting -= unfiled
        self._behind = True
        self._queue = deque(kept)
        self._bytes = sum(map(_size, kept))

    def cut(self, points_to: int, exhibits_to: int) -> None:
        """Forget what the run makes anew: all beyond two offsets, to which the journal has been cut back."""
        with self._lock:
            ends = {True: points_to, False: exhibits_to}
            kept = [item for item in self._queue if (item.end or 0) <= ends[isinstance(item.content, Point)]]
            self._waiting -= len(self._queue) - len(kept)
            self._queue, self._bytes = deque(kept), sum(map(_size, kept))
            self._points_to, self._exhibits_to = min(self._points_to, points_to), min(self._exhibits_to, exhibits_to)
            self._cuts += 1
            self.again = True

    def finish(self, summary: Mapping[str, str]) -> None:
        """Ask it to deliver the rest and close the backend."""
        self.summary, self._closing = summary, True
        self._wake.set()

    def undelivered(self) -> int:
        return self._waiting

    def hangs(self) -> bool:
        """Return True if a call has been going on for longer than a backend may take."""
        since = self._busy_since
        return bool(since) and time.monotonic() - since > PATIENCE

    def slowness(self) -> str:
        """Return what is said of a backend that hangs, or answers so slowly that nobody can tell."""
        remedy = f"; {self.backend.remedy}" if self.backend.remedy else ""
        return f"warning: {self.title} has not answered for {PATIENCE:.0f} s{remedy}. The run goes on without waiting"

    # ---- the thread ----------------------------------------------------------------------------------------

    def run(self) -> None:
        pause, last_attempts = _PAUSE, 0
        while True:
            last = self._closing  # read before delivering: what came until then is delivered
            last_attempts += last
            try:
                self._busy_since = time.monotonic()
                self._deliver()
                pause = _PAUSE
            except Exception as error:  # whatever a backend raises, the run goes on
                pause = min(max(2 * pause, 0.5), _LONGEST_PAUSE)
                self._failed(error)
                last = last and last_attempts > MOST_ATTEMPTS  # an exhibit that it cannot show is passed over by then
            finally:
                self._busy_since = 0.0
            if last:
                break
            if not self._closing:
                self._wake.wait(pause)
        self._close()
        self.done = True

    def _deliver(self) -> None:
        """Give the backend everything that waits. Raises whatever the backend raises."""
        if self.again and self._ready and self.backend.refills:
            self._ready = False
            self._from_the_start()
        self.again = False
        if not self._ready:
            self.backend.start(self.facts)
            self._ready = True
            if self.backend.refills and (self._points_to or self._exhibits_to):
                self._from_the_start()
        delivered = 0
        cuts = self._cuts
        while (item := self._next()) is not None:
            self._at = item
            if self._refused.get(_name(item), 0) < MOST_ATTEMPTS:
                _give(self.backend, item)
            self._delivered(item, cuts)
            self._at, cuts = None, self._cuts
            delivered += 1
        if delivered:
            self.backend.flush()
            with self._lock:
                self._waiting = len(self._queue)
            if self.warned:
                self.warned = False
                self.report(f"{self.title} is back and has got everything")

    def _next(self) -> Item | None:
        """Return the first item that waits, in the journal if it is behind, without taking it away."""
        with self._lock:
            if not self._behind:
                return self._queue[0] if self._queue else None
        for item in self.journal.read(self._points_to, self._exhibits_to):
            return item
        with self._lock:
            self._behind = False  # what came meanwhile is still in the journal: see the next line
            for item in self.journal.read(self._points_to, self._exhibits_to):
                self._behind = True
                return item
            return self._queue[0] if self._queue else None

    def _delivered(self, item: Item, cuts: int) -> None:
        with self._lock:
            if self._queue and self._queue[0] is item:
                self._queue.popleft()
                self._bytes -= _size(item)
            if item.end is None or cuts != self._cuts:  # cut meanwhile, its end is no place in the journal any more
                return
            if isinstance(item.content, Point):
                self._points_to = item.end
            else:
                self._exhibits_to = item.end

    def _failed(self, error: Exception) -> None:
        if self._at is not None and (name := _name(self._at)):
            self._refused[name] = self._refused.get(name, 0) + 1
            self._at = None
        if self.backend.refills and self._ready:
            self._ready = False
            self._from_the_start()
        if not self.warned:
            self.warned = True
            remedy = self.backend.remedy
            reason = " ".join(str(error).split())[:300]
            self.report(
                f"warning: {self.title} failed: {type(error).__name__}: {reason}{'; ' if remedy else ''}{remedy}."
                " The run goes on; every point is in metrics.jsonl and is sent when it is back"
            )

    def _from_the_start(self) -> None:
        """Have everything read from the journal again, for a backend that starts empty."""
        if self.journal.metrics or self.journal.folder:
            with self._lock:
                self._fall_behind()
                self._points_to = self._exhibits_to = 0
                self._waiting = max(self._waiting, 1)

    def _close(self) -> None:
        try:
            self._busy_since = time.monotonic()
            if self._ready:
                self.backend.close(self.summary)
        except Exception as error:  # closing badly is as bad as anything else, and no worse
            self._failed(error)


def _give(backend: Logger, item: Item) -> None:
    if isinstance(item.content, Point):
        backend.point(item.content)
    elif isinstance(item.content, str):
        backend.message(item.content)
    else:
        backend.show(item.content)


def _name(item: Item) -> str:
    """Return the name of an exhibit, nothing for a point or message: of those none is passed over."""
    return item.content.name if isinstance(item.content, Figure) else ""


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
