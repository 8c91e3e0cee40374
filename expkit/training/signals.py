"""Signals that end a run: noted at once, obeyed where the state is whole, so that a checkpoint can be written."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, ClassVar

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
if sys.platform != "win32":
    EXIT_CODES[signal.SIGUSR1] = 75  # EX_TEMPFAIL of <sysexits.h>: submit the same command again
_NOTICE = b"\nstops after this step, with a checkpoint; Ctrl+C again stops at once\n"


class Interrupted(KeyboardInterrupt):
    """A signal asked the run to end; signal: its number, is_whole: whether a checkpoint can be written here."""

    def __init__(self, number: int, is_whole: bool = True) -> None:
        super().__init__(signal.Signals(number).name)
        self.signal, self.is_whole = number, is_whole


class Interruption:
    """What a signal asked for: `check` raises Interrupted once one came.

    Where `waiting` says that nothing is half done, the handler raises it at once, so that no slow disk delays the end.
    A second Ctrl+C is a plain KeyboardInterrupt; other signals that follow change nothing.
    """

    _may_raise: ClassVar[bool] = True  # by itself, without asking other ranks

    def __init__(self) -> None:
        self.requested: int | None = None
        self._is_whole, self._process = False, 0

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Answer the signals while this lasts; to be used in the main thread."""
        self._process = os.getpid()
        before = {number: signal.signal(number, self._note) for number in EXIT_CODES}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a worker that has just been forked, and ignores signals in a moment
            return
        if self.requested is not None:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            return
        self.requested = number
        if number == signal.SIGINT and sys.stderr.isatty():
            os.write(sys.stderr.fileno(), _NOTICE)  # printing may wait for a lock that this very thread holds
        if self._is_whole:
            raise Interrupted(number)

    def check(self) -> None:
        """Raise Interrupted if a signal came."""
        if self.requested is not None:
            raise Interrupted(self.requested)

    def waiting(self, is_whole: bool) -> "Waiting":
        """Return the context to wait for data in; is_whole: whether the state is that of a step's edge."""
        if is_whole:
            self.check()
        self._is_whole = is_whole
        return Waiting(self, is_whole)

    def waited(self) -> None:
        self._is_whole = False

    @contextmanager
    def looking(self) -> Iterator[None]:
        """While watchers look at a state that a checkpoint can be written of: then a signal ends the run at once."""
        if self._may_raise and self.requested is not None:
            raise Interrupted(self.requested)
        self._is_whole = self._may_raise
        try:
            yield
        finally:
            self._is_whole = False


class Waiting:
    """While a run waits for data between two steps, where it can be resumed: then a signal ends it at once.

    A class, since a step enters it each time: a generator takes three microseconds more.
    """

    def __init__(self, interruption: Interruption, is_whole: bool) -> None:
        self.interruption, self.is_whole = interruption, is_whole

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if isinstance(error, RuntimeError):
                # A signal to all processes of a run may end a worker, that has just begun, before it reaches this one.
                time.sleep(0.2)
                if self.interruption.requested is not None:
                    raise Interrupted(self.interruption.requested, self.is_whole) from None
        finally:
            self.interruption.waited()


class AgreedInterruption(Interruption):
    """The same among ranks: all end at one step's edge, also where a signal came to one of them alone.

    ranks: the processes of the run. Each `check` asks which signals the others had at the check before.
    """

    _may_raise = False

    def __init__(self, ranks: Any) -> None:
        super().__init__()
        self.ranks = ranks
        self._has_checked = False

    def check(self) -> None:
        """Raise Interrupted on all ranks, at the same place, once one of them has had a signal."""
        self._has_checked = True
        if number := self.ranks.agree(self.requested or 0):
            self.requested = number
            raise Interrupted(number)

    def waiting(self, is_whole: bool) -> Waiting:
        """Return the context to wait for data in; nothing is raised at once: the others would wait for this rank."""
        if is_whole and not self._has_checked:  # in evaluation; a step's edge has been looked at just before
            self.check()
        self._has_checked = False
        return super().waiting(False)
