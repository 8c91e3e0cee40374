"""Worker processes: they end with the run, and a failure names the samples that they were reading."""

import atexit
import functools
import gc
import multiprocessing
import re
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from typing import Any

from torch.utils.data import get_worker_info

from expkit.core.child_process import die_with_parent

_MOST_NAMED = 4  # samples or workers in a message
_NOTHING = -1


class WorkerFailed(Exception):
    """A worker was killed or timed out; the message names its samples and a fix."""


class ReadTracker:
    """The sample that each worker is reading, kept in memory that outlives the workers."""

    def __init__(self, workers: int) -> None:
        self._samples = RawArray("q", [_NOTHING] * workers)

    def sample(self, worker: int) -> int | None:
        """Return the index of the sample that a worker is reading, None if there is none."""
        index: int = self._samples[worker]
        return None if index == _NOTHING else index

    def start_worker(self, number: int) -> None:
        """Prepare a worker process, which records what it reads."""
        start_worker(number)
        info = get_worker_info()
        assert info is not None
        self.note(number, info.dataset)

    def note(self, number: int, samples: Any) -> None:
        """Wrap this process's copy of the samples so that it records what it reads."""
        current, dataset = self._samples, samples.dataset
        current[number] = _NOTHING

        def recorded(read: Callable[[int], Any]) -> Callable[[int], Any]:
            def reading(index: int) -> Any:
                current[number] = index
                return read(index)

            return reading

        def read_batch(indices: Any, read: Callable[[Any], Any] = samples.__getitems__) -> Any:
            batch = read(indices)
            current[number] = _NOTHING
            return batch

        dataset.image, dataset.encoded = recorded(dataset.image), recorded(dataset.encoded)
        samples.__getitems__ = read_batch


def share_temporary_folder() -> None:
    """Make workers keep their sockets in a folder that this process removes when it ends.

    Otherwise each worker would leave a folder behind: torch ends workers without running their exit handlers.
    """
    multiprocessing.util.get_temp_dir()


def start_worker(number: int) -> None:
    """Prepare a worker process: it ignores signals, which the training process handles, and ends with it.

    Terminals and clusters signal all processes of a run; without this, the training process could not finish its
    current step.
    """
    for name in ("SIGINT", "SIGTERM", "SIGUSR1"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    # Read errors are sent with the batch; anything else is noise from sending to a process that has ended.
    sys.excepthook = lambda *_: None
    gc.freeze()  # garbage collection of inherited objects would copy their memory pages
    _end_with_parent()


def _end_with_parent() -> None:
    """End even a stopped or stuck worker when its parent is killed; on other systems torch's loop checks."""
    parent = multiprocessing.parent_process()
    from_server = isinstance(multiprocessing.current_process(), multiprocessing.context.ForkServerProcess)
    # The parent may have ended already. Compare its pid and not 1, which may be the training process in a container.
    die_with_parent(parent.pid if parent is not None and not from_server else None)


def end(workers: Iterable[BaseProcess]) -> None:
    """Kill worker processes: they hold nothing that could be lost."""
    for worker in workers:
        if worker.pid and worker.is_alive():
            with suppress(ProcessLookupError):
                worker.kill()


@functools.cache
def end_at_exit() -> None:
    """Kill remaining workers when Python exits, as after a second Ctrl+C: it would wait forever for a stopped one.

    Call it after torch has registered its own handler: the last one registered runs first.
    """
    atexit.register(lambda: end(child for child in multiprocessing.active_children() if child.daemon))


class DeathSignals:
    """Lets torch report a dead worker only while the main thread waits for a batch, not anywhere in the code."""

    def __init__(self) -> None:
        self.is_waiting = False
        self._torch_handler: Any = None

    def gate(self) -> None:
        """Wrap torch's SIGCHLD handler, once torch has set it."""
        if (
            self._torch_handler is None
            and hasattr(signal, "SIGCHLD")
            and callable(handler := signal.getsignal(signal.SIGCHLD))
        ):
            self._torch_handler = handler
            signal.signal(signal.SIGCHLD, self._pass_on)

    def _pass_on(self, number: int, frame: Any) -> None:
        if self.is_waiting:
            self._torch_handler(number, frame)

    def wait(self) -> None:
        """Start waiting. Raises torch's RuntimeError if a worker has died since the last call."""
        self.is_waiting = True
        if self._torch_handler is not None:
            self._torch_handler(signal.SIGCHLD, None)


death_signals = DeathSignals()


def next_batch(due: int, worker: int, workers: int) -> int:
    """Return the number of a worker's next batch, from batch `due` on: workers take turns."""
    return due + (worker - due) % workers


def failure(
    error: RuntimeError,
    workers: Sequence[BaseProcess],
    due: int | None,
    reads: Callable[[int], bool],
    held: Callable[[int], Sequence[str]],
    timeout: float,
) -> WorkerFailed | None:
    """Return a WorkerFailed for a RuntimeError of torch's DataLoader, None for any other error.

    due: number of the awaited batch, counted from the first requested one, None if none is awaited. reads(worker):
    whether it is reading a sample; held(worker): locations of its samples.
    """
    text = str(error)
    if "DataLoader timed out" in text and due is not None:
        stuck = [number for number, worker in enumerate(workers) if reads(number) or _is_stopped(worker.pid)]
        blamed = stuck or ([due % len(workers)] if workers else [])
        shown = [f"worker {workers[number].pid} held {_sample_list(held(number))}" for number in blamed]
        return WorkerFailed(
            f"no batch came within dataset.timeout={timeout:g} seconds; {_shorten(shown, '; ')}; it is stopped, or"
            " reading takes that long: look at these files and their disk, leave out by dataset.exclude a file that"
            " never ends, or raise dataset.timeout"
        )
    found = re.search(r"DataLoader worker \(pid\(?s?\)? ([\d, ]+)\)", text)
    pid = int(found[1].split(",")[0]) if found else None
    places = [number for number, worker in enumerate(workers) if worker.pid == pid]
    if pid is None or (not places and due is None):  # the error of another loader
        return None
    end, held_by_it = _exit_reason(workers[places[0]]) if places else "ended", held(places[0]) if places else []
    return WorkerFailed(
        f"worker {pid} {end} while it held {_sample_list(held_by_it)}; if the machine ran out of memory lower"
        " dataset.num_workers or batch_size; if one of these files kills the decoder, leave it out by dataset.exclude"
    )


def _is_stopped(pid: int | None) -> bool:
    """Return True if a process is stopped by a signal; False on systems without /proc."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "Tt"
    except OSError:
        return False


def _exit_reason(worker: BaseProcess) -> str:
    code = worker.exitcode or 0
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended by itself (exit code {code})"


def _sample_list(locations: Sequence[str]) -> str:
    return _shorten(locations, ", ") if locations else "no sample"


def _shorten(texts: Sequence[str], between: str) -> str:
    more = f" and {len(texts) - _MOST_NAMED} more" if len(texts) > _MOST_NAMED else ""
    return between.join(texts[:_MOST_NAMED]) + more
