"""Child processes: they end with their parent, and a signal that arrives during a fork is not lost."""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

_PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>
_NUMBERS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]


def die_with_parent(parent: int | None, number: int = getattr(signal, "SIGKILL", 9)) -> None:
    """Ask the kernel to send this process a signal when its parent ends, however it ends (Linux only).

    parent: its process ID; if that process has already ended, this one ends at once. None: the parent is a server,
    whose ID the child does not know.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os._exit(128 + number)


def be_killed_first(score: int) -> None:
    """Ask the kernel to kill this process before others when memory runs out. score: up to 1000 (Linux only)."""
    with suppress(OSError):  # a sandbox may forbid it
        Path("/proc/self/oom_score_adj").write_text(str(score))


@contextmanager
def signals_wait() -> Iterator[None]:
    """Hold back the signals that have a Python handler, and deliver them once the processes are forked.

    Python runs the hooks of os.fork in parent and child, and an exception out of one is lost. A child does not
    receive them until it has handlers of its own. A mask would not do: another thread would take the signal.
    """
    if threading.current_thread() is not threading.main_thread():  # handlers run in the main thread alone
        yield
        return
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    before = {number: found for number in _NUMBERS if callable(found := signal.getsignal(number))}
    for number in before:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in dict.fromkeys(came):
            signal.raise_signal(number)
