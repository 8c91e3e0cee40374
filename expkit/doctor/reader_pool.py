"""A pool of reader processes: an item that hangs or kills its reader costs only itself."""

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import connection, get_context
from typing import Any, TypeVar

from expkit.core.child_process import be_killed_first, die_with_parent, signals_wait

Answer = TypeVar("Answer")

_AHEAD = 8  # items that a reader holds, so that it never waits for the next one
_POLL = 1.0  # seconds


@dataclass(frozen=True)
class Lost:
    """The answer of an item that timed out or killed its reader."""

    reason: str


class _Reader:
    """A process, the pipe to it, and the items that it has not answered yet, in order."""

    def __init__(self, task: Callable[[int], Any]) -> None:
        context: Any = get_context("fork" if os.name == "posix" else "spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, task, os.getpid()), daemon=True)
        _start_without_interrupts(self.process)
        theirs.close()
        self.items: deque[int] = deque()
        self.since = time.monotonic()

    def top_up(self, waiting: deque[int]) -> None:
        if len(self.items) > _AHEAD // 2 or not waiting:
            return
        more = [waiting.popleft() for _ in range(min(_AHEAD - len(self.items), len(waiting)))]
        if not self.items:
            self.since = time.monotonic()
        self.items.extend(more)
        try:
            self.pipe.send(more)
        except OSError:  # it has just died: the next poll of its pipe shows it
            return

    def take(self) -> tuple[int, Any]:
        """Return the next item with its answer, or with how the reader died."""
        try:
            answer = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            answer = Lost(_cause_of_death(self.process.exitcode))
        self.since = time.monotonic()
        return self.items.popleft(), answer

    def give_up(self, timeout: float) -> tuple[int, Lost]:
        self.end()
        return self.items.popleft(), Lost(f"took longer than {timeout:g} s")

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def read_all(
    task: Callable[[int], Answer], items: int, processes: int, timeout: float
) -> Iterator[tuple[int, Answer | Lost]]:
    """Yield (item, task(item)) for the items 0 to `items` - 1 in the order of completion.

    timeout: seconds per item. However the iteration ends, no process remains.
    """
    waiting = deque(range(items))
    readers: list[_Reader] = []
    try:
        while waiting or any(reader.items for reader in readers):
            while len(readers) < min(processes, len(waiting)):
                readers.append(_Reader(task))
            for reader in readers:
                reader.top_up(waiting)
            for reader, item, answer in _next_answers(readers, timeout):
                if isinstance(answer, Lost):
                    readers.remove(reader)
                    waiting.extendleft(reversed(reader.items))
                    reader.end()
                yield item, answer
    finally:
        for reader in readers:
            reader.end()


def _next_answers(readers: list[_Reader], timeout: float) -> list[tuple[_Reader, int, Any]]:
    """Wait for answers; end a reader that is overdue."""
    busy = [reader for reader in readers if reader.items]
    first_due = min(reader.since for reader in busy) + timeout
    patience = min(max(first_due - time.monotonic(), 0), _POLL)
    ready = set(connection.wait([reader.pipe for reader in busy], patience))
    answers = [(reader, *reader.take()) for reader in busy if reader.pipe in ready]
    now = time.monotonic()
    overdue = [reader for reader in busy if reader.pipe not in ready and now - reader.since > timeout]
    return answers + [(reader, *reader.give_up(timeout)) for reader in overdue]


def _cause_of_death(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"ended the reader (exit code {exit_code})"
    name = signal.Signals(-exit_code).name
    hint = ", most likely out of memory" if name == "SIGKILL" else ""
    return f"killed the reader ({name}{hint})"


# ---- in the reader's process -----------------------------------------------------------------------------------


def _start_without_interrupts(process: Any) -> None:
    """Start a process that never receives Ctrl+C, not even while it starts: the parent handles it."""
    with signals_wait():
        if not hasattr(signal, "pthread_sigmask"):
            process.start()
            return
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: Any, task: Callable[[int], Any], parent: int) -> None:
    die_with_parent(parent)
    be_killed_first(1000)
    # Messages of C libraries on damaged files would break the progress bar; the reason comes through the pipe.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    while True:
        try:
            items = pipe.recv()
        except EOFError:
            return
        for item in items:
            pipe.send(task(item))
