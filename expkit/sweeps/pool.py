"""A pool of processes: each job is forked from this one, which has imported torch and computed nothing with it."""

import gc
import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from expkit.core.child_process import signals_wait
from expkit.sweeps.job import SweepJob
from expkit.sweeps.worker import Share, Train, work

START_METHOD = "fork" if sys.platform == "linux" else "spawn"  # elsewhere system libraries do not survive a fork
SIGNALS = (signal.SIGINT, signal.SIGTERM) + (() if sys.platform == "win32" else (signal.SIGUSR1,))
_TICK = 0.25  # seconds between two looks at what the jobs have done


@dataclass
class Task:
    """A job to run: its config with all that belongs to this attempt, and where its output goes."""

    job: SweepJob
    config: dict[str, Any]
    output: Path


@dataclass
class Running:
    task: Task
    process: BaseProcess
    share: Share
    began: float
    kills: int  # of the system's out-of-memory killer, before it began


@dataclass(frozen=True)
class Ended:
    """How a job's process ended. code: its exit code, negative for a signal; out_of_memory: the system killed it."""

    code: int
    seconds: float
    out_of_memory: bool = False


class Observer(Protocol):
    """What a pool calls when a task starts, when it has ended, and several times a second."""

    def started(self, task: Task) -> None: ...

    def ended(self, task: Task, ended: Ended) -> None: ...

    def tick(self) -> None: ...


class Pool:
    """Runs tasks over shares of this machine, at most one on each at any time.

    A signal that asks to end is passed to each running job once, which then saves a checkpoint; no other is started.
    Another Ctrl+C ends them at once, a third kills them.
    """

    def __init__(self, train: Train, shares: list[Share]) -> None:
        self.train = train
        self.free = deque(shares)
        self.running: list[Running] = []
        self.asked: list[int] = []  # the signals that came

    def run(self, tasks: Iterable[Task], observer: Observer) -> None:
        """Run all tasks.

        A task is asked for when it can start, and after all that ended before were reported: it may depend on them.
        """
        gc.collect()
        gc.freeze()  # or the children's collections would copy this process's memory
        try:
            with handling_signals(self._pass_on):
                self._run(iter(tasks), observer)
        finally:
            gc.unfreeze()

    def _run(self, tasks: Iterator[Task], observer: Observer) -> None:
        is_more = True
        while self.running or (is_more and not self.asked):
            while is_more and self.free and not self.asked:
                if (task := next(tasks, None)) is None:
                    is_more = False
                    break
                observer.started(task)
                self._start(task)
            connection.wait([one.process.sentinel for one in self.running], timeout=_TICK)
            for one in [one for one in self.running if not one.process.is_alive()]:
                observer.ended(one.task, self._close(one))
            observer.tick()

    def stop(self, job: SweepJob) -> None:
        """Ask a running job to end; it saves a checkpoint and closes its record."""
        for one in self.running:
            if one.task.job is job and (pid := one.process.pid) is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)

    def _start(self, task: Task) -> None:
        share = self.free.popleft()
        arguments = (self.train, task.config, task.job.overrides, task.output, share, os.getpid())
        process: BaseProcess = multiprocessing.get_context(START_METHOD).Process(target=work, args=arguments)  # type: ignore[attr-defined]
        running = Running(task, process, share, time.perf_counter(), out_of_memory_kills())
        with _blocked(), signals_wait():  # until the child has handlers of its own
            process.start()
        self.running.append(running)

    def _close(self, one: Running) -> Ended:
        one.process.join()
        seconds, code = time.perf_counter() - one.began, one.process.exitcode
        assert code is not None
        assert one.process.pid is not None
        _kill_group(one.process.pid)  # loader workers of a job that was killed
        self.running.remove(one)
        self.free.append(one.share)
        one.process.close()
        killed = code == -9 and len(self.asked) < 3 and out_of_memory_kills() > one.kills
        return Ended(code, seconds, killed)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self.asked.append(number)
        for one in self.running:
            if (pid := one.process.pid) is None:
                continue
            if len(self.asked) >= 3:
                _kill_group(pid)
            elif len(self.asked) == 1 or number == signal.SIGINT:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)


@contextmanager
def handling_signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle the signals that ask a sweep to end, and restore the handlers before afterwards."""
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


@contextmanager
def _blocked() -> Iterator[None]:
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _kill_group(pid: int) -> None:
    if sys.platform == "win32":
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def out_of_memory_kills() -> int:
    """Return how many processes the system has killed for lack of memory: in this container, else on this machine."""
    for place in ("/sys/fs/cgroup/memory.events", "/proc/vmstat"):
        with suppress(OSError, ValueError):
            for line in Path(place).read_text().splitlines():
                name, _, count = line.partition(" ")
                if name == "oom_kill":
                    return int(count)
    return 0
