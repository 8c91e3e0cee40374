"""Worker processes that are quiet, die with the run, and are named with what they held when they fail."""

import ctypes
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from multiprocessing.process import BaseProcess

_SHOWN = 4  # samples named in a message


class WorkerFailed(Exception):
    """A worker was killed, or gave nothing in time; the text names the samples that it held, and the remedy."""


def start_worker(number: int) -> None:
    """Prepare a worker process: Ctrl+C is the training process's to answer, and the worker ends when that one does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Errors of reading reach the training process with the batch; what is left is noise of handing over to a dead one.
    sys.excepthook = lambda *_: None
    if sys.platform == "linux":
        # Even a worker that is stopped or stuck goes when its parent is killed; elsewhere torch looks every 5 seconds.
        parent_death_signal = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>
        ctypes.CDLL(None).prctl(parent_death_signal, signal.SIGKILL)
        if os.getppid() == 1:  # the parent was gone before
            os._exit(1)


def end(workers: Iterable[BaseProcess]) -> None:
    """End worker processes at once, whatever they are doing: they hold nothing that could be lost."""
    for worker in workers:
        if worker.pid and worker.is_alive():
            with suppress(ProcessLookupError):
                # torch's own handler of SIGTERM ends a worker even in a decoder; a stopped one must go on to see it.
                os.kill(worker.pid, signal.SIGTERM)
                if hasattr(signal, "SIGCONT"):
                    os.kill(worker.pid, signal.SIGCONT)


def failure(
    error: RuntimeError,
    workers: Sequence[BaseProcess],
    waited_for: int,
    held: Callable[[int], Sequence[str]],
    timeout: float,
) -> WorkerFailed | None:
    """Return what a RuntimeError of torch's DataLoader means for the user, None for an error of something else.

    waited_for: the number of the batch that was due; held: batch number -> where its samples lie.
    """
    text = str(error)
    if "DataLoader timed out" in text:
        worker = workers[waited_for % len(workers)].pid if workers else None
        return WorkerFailed(
            f"no batch came within dataset.timeout={timeout:g} seconds; worker {worker}"
            f" held {_named(held(waited_for))}; it is stopped, or reading takes that long: look at these files and"
            " their disk, or raise dataset.timeout"
        )
    found = re.search(r"DataLoader worker \(pid\(?s?\)? ([\d, ]+)\)", text)
    if not found:
        return None
    pid = int(found[1].split(",")[0])
    places = [number for number, worker in enumerate(workers) if worker.pid == pid]
    # Batches go to the workers in turn, so the one that failed held the next of its own.
    batch = waited_for + (places[0] - waited_for) % len(workers) if places else waited_for
    return WorkerFailed(
        f"worker {pid} {_end_of(text)} while it held {_named(held(batch))}; if the machine ran out of memory lower"
        " dataset.num_workers or batch_size; if one of these files kills the decoder, leave it out by dataset.exclude"
    )


def _end_of(text: str) -> str:
    killed = re.search(r"killed by signal: ([^.]+)", text)
    return f"was killed ({killed[1].strip()})" if killed else "ended unexpectedly"


def _named(locations: Sequence[str]) -> str:
    more = f" and {len(locations) - _SHOWN} more" if len(locations) > _SHOWN else ""
    return ", ".join(locations[:_SHOWN]) + more if locations else "no sample"
