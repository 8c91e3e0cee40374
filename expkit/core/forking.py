"""Signals while processes are forked: what raises then would be printed as "Exception ignored in ..." and be lost."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NUMBERS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]


@contextmanager
def signals_wait() -> Iterator[None]:
    """Hold back the signals that have a handler of Python's, and let them come once the processes are forked.

    Python runs the hooks of os.fork in parent and child, and an exception out of one goes nowhere. A child does not
    hear them until it has handlers of its own. A mask would not do: another thread takes the signal in its stead.
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
