"""A thread that feeds one backend: whatever the backend does, nobody waits for it."""

import threading
import time
from collections.abc import Callable, Mapping

from expkit.loggers.backlog import Backlog, Item, Journal
from expkit.loggers.base import Logger, Point, RunFacts
from expkit.loggers.figures import Figure

_PAUSE = 0.25  # seconds between deliveries: many points go in one call
_LONGEST_PAUSE = 5.0  # seconds between attempts
MOST_ATTEMPTS = 3  # at one figure, before it is skipped
PATIENCE = 10.0  # seconds after which a call is said to hang


class BackgroundLogger(threading.Thread):
    """Delivers to one backend what waits in its backlog.

    report: takes a sentence for the user; warned: whether this outage has been reported.
    """

    def __init__(self, backend: Logger, report: Callable[[str], None]) -> None:
        self.backend, self.report = backend, report
        # A daemon: a backend that hangs must not hold Python up.
        super().__init__(name=f"logger {backend.title}", daemon=True)
        self.backlog, self.facts = Backlog(), RunFacts("", "", {}, {})
        self.warned = False
        self.done = False
        self._wake = threading.Event()
        self._summary: Mapping[str, str] | None = None  # None until the rest is to be delivered
        self._ready = False
        self._busy_since = 0.0
        self._current: Item | None = None  # what is being delivered
        self._refused: dict[str, int] = {}  # figures -> how often the backend failed at them

    @property
    def title(self) -> str:
        return self.backend.title

    # ---- called by the run ---------------------------------------------------------------------------------

    def begin(self, facts: RunFacts, journal: Journal, points_to: int, figures_to: int) -> None:
        """Start delivering; what the journal holds up to the two offsets was delivered before the resume."""
        self.facts = facts
        self.backlog.begin(journal, points_to, figures_to)
        self.start()

    def finish(self, summary: Mapping[str, str]) -> None:
        """Have the thread deliver the rest and close the backend."""
        self._summary = summary
        self._wake.set()

    def undelivered(self) -> int:
        return self.backlog.waiting

    def hangs(self) -> bool:
        """Return True if a call has taken longer than a backend may."""
        since = self._busy_since
        return bool(since) and time.monotonic() - since > PATIENCE

    def slowness(self) -> str:
        """Return the warning about a backend that hangs, or answers so slowly that it may."""
        return f"warning: {self.title} has not answered for {PATIENCE:.0f} s{self._remedy()}. The run does not wait"

    def _remedy(self) -> str:
        return f"; {self.backend.remedy}" if self.backend.remedy else ""

    # ---- the thread ----------------------------------------------------------------------------------------

    def run(self) -> None:
        pause, last_attempts = _PAUSE, 0
        while True:
            last = self._summary is not None  # read before delivering: what came until then is delivered
            last_attempts += last
            try:
                self._busy_since = time.monotonic()
                self._deliver()
                pause = _PAUSE
            except Exception as error:  # whatever a backend raises, the run continues
                pause = min(max(2 * pause, 0.5), _LONGEST_PAUSE)
                self._failed(error)
                last = last and last_attempts > MOST_ATTEMPTS  # a figure that it cannot show is skipped by then
            finally:
                self._busy_since = 0.0
            if last:
                break
            if self._summary is None:
                self._wake.wait(pause)
        self._close()
        self.done = True

    def _deliver(self) -> None:
        """Give the backend everything that waits. Raises whatever the backend raises."""
        if self.backlog.was_cut and self._ready and self.backend.refills:
            self._ready = False
            self.backlog.rewind()
        self.backlog.was_cut = False
        if not self._ready:
            self.backend.start(self.facts)
            self._ready = True
            if self.backend.refills and self.backlog.is_begun:
                self.backlog.rewind()
        delivered = 0
        cuts = self.backlog.cuts
        while (item := self.backlog.first()) is not None:
            self._current = item
            if self._refused.get(_name(item), 0) < MOST_ATTEMPTS:
                _give(self.backend, item)
            self.backlog.delivered(item, cuts)
            self._current, cuts = None, self.backlog.cuts
            delivered += 1
        if delivered:
            self.backend.flush()
            self.backlog.settle()
            if self.warned:
                self.warned = False
                self.report(f"{self.title} is back and has received everything")

    def _failed(self, error: Exception) -> None:
        if self._current is not None and (name := _name(self._current)):
            self._refused[name] = self._refused.get(name, 0) + 1
            self._current = None
        if self.backend.refills and self._ready:
            self._ready = False
            self.backlog.rewind()
        if not self.warned:
            self.warned = True
            reason = " ".join(str(error).split())[:300]
            self.report(
                f"warning: {self.title} failed: {type(error).__name__}: {reason}{self._remedy()}."
                " The run continues; every point is in metrics.jsonl and is sent when it is back"
            )

    def _close(self) -> None:
        try:
            self._busy_since = time.monotonic()
            if self._ready:
                self.backend.close(self._summary or {})
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
    """Return the name of a figure, "" for a point or message: those are never skipped."""
    return item.content.name if isinstance(item.content, Figure) else ""
