"""Worker processes that are quiet, die with the run, and are named with what they held when they fail."""

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

_SHOWN = 4  # samples, or workers, named in a message
_NOTHING = -1


class WorkerFailed(Exception):
    """A worker was killed, or gave nothing in time; the text names the samples that it held, and the remedy."""


class Desks:
    """What each worker reads at this moment: kept in memory that outlives a worker, whatever it dies of."""

    def __init__(self, workers: int) -> None:
        self._samples = RawArray("q", [_NOTHING] * workers)

    def sample(self, worker: int) -> int | None:
        """Return the index of the sample that a worker reads, None while it reads none."""
        found: int = self._samples[worker]
        return None if found == _NOTHING else found

    def start_worker(self, number: int) -> None:
        """Prepare a worker process, which will note what it reads."""
        start_worker(number)
        info = get_worker_info()
        assert info is not None
        self.note(number, info.dataset)

    def note(self, number: int, samples: Any) -> None:
        """Have this process's own copy of the samples tell what it reads."""
        desk, dataset = self._samples, samples.dataset
        desk[number] = _NOTHING

        def told(read: Callable[[int], Any]) -> Callable[[int], Any]:
            def reading(index: int) -> Any:
                desk[number] = index
                return read(index)

            return reading

        def batch(places: Any, read: Callable[[Any], Any] = samples.__getitems__) -> Any:
            done = read(places)
            desk[number] = _NOTHING
            return done

        dataset.image, dataset.encoded = told(dataset.image), told(dataset.encoded)
        samples.__getitems__ = batch


def share_temporary_folder() -> None:
    """Have workers keep their sockets in a folder of this process, which removes it at its end.

    In folders of their own they would stay for ever: torch ends its workers without what Python does at exit.
    """
    multiprocessing.util.get_temp_dir()


def start_worker(number: int) -> None:
    """Prepare a worker process: signals are the training process's to answer, and the worker ends when that one does.

    Sent to all processes of a run, as terminals and clusters do, they would else take the data away from the step that
    the training process still finishes.
    """
    for name in ("SIGINT", "SIGTERM", "SIGUSR1"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    # Errors of reading reach the training process with the batch; what is left is noise of handing over to a dead one.
    sys.excepthook = lambda *_: None
    gc.freeze()  # looking through inherited objects for garbage would copy the memory that they lie on
    _end_with_parent()


def _end_with_parent() -> None:
    """Let even a worker that is stopped or stuck go when its parent is killed; elsewhere torch's loop looks."""
    parent = multiprocessing.parent_process()
    from_server = isinstance(multiprocessing.current_process(), multiprocessing.context.ForkServerProcess)
    # The parent may have gone just before. Its number tells, not 1: in a container the training process may be that.
    die_with_parent(parent.pid if parent is not None and not from_server else None)


def end(workers: Iterable[BaseProcess]) -> None:
    """End worker processes at once, whatever they are doing: they hold nothing that could be lost."""
    for worker in workers:
        if worker.pid and worker.is_alive():
            with suppress(ProcessLookupError):
                worker.kill()


@functools.cache
def end_at_exit() -> None:
    """End workers that are left when Python exits, as after a second Ctrl+C: it would wait for a stopped one for ever.

    To be called once torch has asked for the same: what is registered last runs first.
    """
    atexit.register(lambda: end(child for child in multiprocessing.active_children() if child.daemon))


class Deaths:
    """When torch may say that a worker died: only where it is waited for, and not wherever the main thread is."""

    def __init__(self) -> None:
        self.waits = False
        self._torchs: Any = None

    def gate(self) -> None:
        """Stand between SIGCHLD and torch's handler, once torch has set it."""
        if self._torchs is None and hasattr(signal, "SIGCHLD") and callable(found := signal.getsignal(signal.SIGCHLD)):
            self._torchs = found
            signal.signal(signal.SIGCHLD, self._pass_on)

    def _pass_on(self, number: int, frame: Any) -> None:
        if self.waits:
            self._torchs(number, frame)

    def wait(self) -> None:
        """Begin to wait; raises torch's RuntimeError for a worker that died since the last time."""
        self.waits = True
        if self._torchs is not None:
            self._torchs(signal.SIGCHLD, None)


deaths = Deaths()


def next_batch(due: int, worker: int, workers: int) -> int:
    """Return the number of the next batch that a worker owes, from the one that is due on: they take turns."""
    return due + (worker - due) % workers


def failure(
    error: RuntimeError,
    workers: Sequence[BaseProcess],
    due: int | None,
    reads: Callable[[int], bool],
    held: Callable[[int], Sequence[str]],
    timeout: float,
) -> WorkerFailed | None:
    """Return what a RuntimeError of torch's DataLoader means for the user, None for an error of something else.

    due: which batch is waited for, counted from the first asked for, None while none is; of a worker's number, reads:
    whether it is in the midst of a sample, held: where its samples lie.
    """
    text = str(error)
    if "DataLoader timed out" in text and due is not None:
        stuck = [number for number, worker in enumerate(workers) if reads(number) or _is_stopped(worker.pid)]
        blamed = stuck or ([due % len(workers)] if workers else [])
        shown = [f"worker {workers[number].pid} held {_named(held(number))}" for number in blamed]
        return WorkerFailed(
            f"no batch came within dataset.timeout={timeout:g} seconds; {_some(shown, '; ')}; it is stopped, or"
            " reading takes that long: look at these files and their disk, leave out by dataset.exclude a file that"
            " never ends, or raise dataset.timeout"
        )
    found = re.search(r"DataLoader worker \(pid\(?s?\)? ([\d, ]+)\)", text)
    pid = int(found[1].split(",")[0]) if found else None
    places = [number for number, worker in enumerate(workers) if worker.pid == pid]
    if pid is None or (not places and due is None):  # of another loader
        return None
    end, held_by_it = _end_of(workers[places[0]]) if places else "ended", held(places[0]) if places else []
    return WorkerFailed(
        f"worker {pid} {end} while it held {_named(held_by_it)}; if the machine ran out of memory lower"
        " dataset.num_workers or batch_size; if one of these files kills the decoder, leave it out by dataset.exclude"
    )


def _is_stopped(pid: int | None) -> bool:
    """Return True if a process is stopped by a signal; False where there is no /proc."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "Tt"
    except OSError:
        return False


def _end_of(worker: BaseProcess) -> str:
    code = worker.exitcode or 0
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended by itself (exit code {code})"


def _named(locations: Sequence[str]) -> str:
    return _some(locations, ", ") if locations else "no sample"


def _some(texts: Sequence[str], between: str) -> str:
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return between.join(texts[:_SHOWN]) + more
