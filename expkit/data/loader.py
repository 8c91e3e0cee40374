"""From an order to batches of uint8 images, the same ones for any number of workers."""

import functools
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Sampler, get_worker_info

from expkit.core.child_process import signals_wait
from expkit.core.formatting import count_noun
from expkit.core.seeding import derive_seed, generator
from expkit.data import shared_memory, workers
from expkit.data.batches import BadSample, Batch, Places, Samples
from expkit.data.decode import BadImage
from expkit.data.samplers import Order

StartMethod = Literal["auto", "fork", "spawn", "forkserver"]


Packed = tuple[Any, NDArray[np.int64], tuple[BadSample, ...]]


class TooManyBad(Exception):
    """More samples could not be read than dataset.max_bad allows; the text names some."""


class KeyedBatches(Sampler[Places]):
    """The places of each batch of an epoch; `jump` to any epoch and step costs nothing.

    part: (number, count) of the process, where several have a part of each batch; order and places are the same then.
    """

    def __init__(
        self, order: Order, seed: int, batch_size: int, drop_last: bool, part: tuple[int, int] = (0, 1)
    ) -> None:
        self.part = part
        self.order, self.seed, self.batch_size, self.drop_last = order, seed, batch_size, drop_last
        self.epoch = self.start = 0
        self._drawn = (-1, self.order.draw(generator(0))[:0])

    def jump(self, epoch: int, start: int) -> None:
        self.epoch, self.start = epoch, start

    def __len__(self) -> int:
        full, rest = divmod(len(self.order), self.batch_size)
        return full if self.drop_last or not rest else full + 1

    def __iter__(self) -> Iterator[Places]:
        return (self.own_places(number) for number in range(self.start, len(self)))

    def own_places(self, number: int) -> Places:
        """Return those places of batch `number` that are this process's part, without a gap; there may be none."""
        places, (part, parts) = self.places(number), self.part
        first, end = (len(places.indices) * bound // parts for bound in (part, part + 1))
        return Places(places.epoch, places.first + first, places.indices[first:end])

    def places(self, number: int) -> Places:
        """Return the places of batch `number` of the epoch."""
        if self._drawn[0] != self.epoch:
            self._drawn = self.epoch, self.order.draw(generator(derive_seed(self.seed, "order", self.epoch)))
        first = number * self.batch_size
        return Places(self.epoch, first, self._drawn[1][first : first + self.batch_size])


@dataclass(frozen=True)
class LoaderOptions:
    """How batches are read.

    num_workers: processes that read and transform, 0 reads in the training process; prefetch: batches that each has
    ready. timeout: seconds after which a worker that gives nothing is an error. pin_memory: for asynchronous copies to
    a CUDA device. persistent: workers stay from one epoch to the next. start_method: how they start; "auto" forks where
    that can be. max_bad: how many samples may be unreadable before the run ends, a count or a share of the dataset,
    None for any number.
    """

    num_workers: int = 0
    prefetch: int = 2
    timeout: float = 60.0
    pin_memory: bool = False
    persistent: bool = True
    start_method: StartMethod = "auto"
    max_bad: float | None = None


class Loader:
    """Batches of an epoch, from any step of it on.

    part: see KeyedBatches. report: told of each bad sample once, the first time it is met.
    """

    def __init__(
        self, samples: Samples, order: Order, batch_size: int, options: LoaderOptions | None = None, *,
        drop_last: bool = False, part: tuple[int, int] | None = None,
    ) -> None:  # fmt: skip
        options = options or LoaderOptions()
        self.batches = KeyedBatches(order, samples.seed, batch_size, drop_last, part or (0, 1))
        self.samples, self.options = samples, options
        self.bad, self._is_of_rank = dict[int, BadSample](), part is not None
        self.report: Callable[[BadSample], object] = lambda bad: None
        self._due = 0  # number of the batch that comes next, counted from the epoch's start
        self._waits = False  # whether it is waited for now
        self._desks = workers.Desks(options.num_workers)
        self._running: Any = None  # torch's iterator, which has the worker processes
        self._loader: DataLoader[Any] | None = None
        if options.num_workers:
            with _any_number_of_workers():
                self._loader = DataLoader(
                    samples,
                    batch_sampler=self.batches,  # type: ignore[arg-type]  # one object stands for a batch of places
                    collate_fn=_packed,  # type: ignore[arg-type]
                    num_workers=options.num_workers,
                    pin_memory=options.pin_memory,
                    prefetch_factor=options.prefetch,
                    persistent_workers=options.persistent,
                    timeout=options.timeout,
                    worker_init_fn=functools.partial(_start_worker, self._desks, options.prefetch + 2),
                    multiprocessing_context=_context(options.start_method),
                    generator=torch.Generator(),  # it draws a seed for its workers: not from the default generator
                )

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from batch number `start` on; no earlier image is opened.

        Raises BadImage for a file that cannot be read where such a one is to fail, TooManyBad, ConfigError for images
        that do not stack.
        """
        self.batches.jump(epoch, start)
        self._due, self._waits = 0, True
        for read in self._read_by_workers() if self._loader else self._read_here():
            self._due, self._waits = self._due + 1, False
            if isinstance(read, Exception):
                raise read
            batch = read if isinstance(read, Batch) else self._unpacked(*read)
            for bad in batch.bad:
                self._meet(bad)
            if self._is_of_rank:  # of a single one too: it divides its losses by the whole batch
                number = self.batches.start + self._due - 1
                batch = batch._replace(total=len(self.batches.places(number).indices))
            yield batch
            self._waits = True
        self._waits = False

    def _read_by_workers(self) -> Iterator[Any]:
        assert self._loader is not None
        before = {worker.pid for worker in self.workers()}
        workers.share_temporary_folder()
        try:
            with _any_number_of_workers(), signals_wait():
                self._running = iter(self._loader)
        finally:
            workers.end_at_exit()
            workers.deaths.gate()
        shared_memory.forget(before - {worker.pid for worker in self.workers()})
        for _ in range(len(self.batches) - self.batches.start):
            workers.deaths.wait()
            try:
                read = next(self._running)
            finally:
                workers.deaths.waits = False
            yield read

    def _read_here(self) -> Iterator[Batch | Exception]:
        for places in self.batches:
            batch = self.samples.__getitems__(places)
            if self.options.pin_memory and isinstance(batch, Batch):
                batch = batch._replace(images=batch.images.pin_memory(), targets=batch.targets.pin_memory())
            yield batch

    def _unpacked(self, images: Tensor, indices: NDArray[np.int64], bad: tuple[BadSample, ...]) -> Batch:
        """Return the batch that a worker packed: the targets are known here."""
        targets, numbers = torch.from_numpy(self.samples.dataset.targets[indices]), torch.from_numpy(indices)
        return Batch(images, targets.pin_memory() if self.options.pin_memory else targets, numbers, bad)

    def _meet(self, bad: BadSample) -> None:
        if bad.sample in self.bad:
            return
        self.bad[bad.sample] = bad
        self.report(bad)
        total = len(self.samples.dataset)
        limit = self.options.max_bad * total if isinstance(self.options.max_bad, float) else self.options.max_bad
        if limit is not None and len(self.bad) > limit:
            named = "; ".join(str(BadImage(one.location, one.reason)) for one in list(self.bad.values())[:3])
            raise TooManyBad(
                f"{len(self.bad)} of {count_noun(total, 'sample')} cannot be read,"
                f" more than dataset.max_bad={self.options.max_bad}: {named};"
                " clean the data (python -m expkit doctor lists all), or raise dataset.max_bad"
            )

    def failure(self, error: RuntimeError) -> workers.WorkerFailed | None:
        """Return what an error means if it is that of one of this loader's workers, with the samples it held."""
        running, reads = self.workers(), lambda worker: self._desks.sample(worker) is not None
        return workers.failure(
            error, running, self._due if self._waits else None, reads, self._held, self.options.timeout
        )

    def _held(self, worker: int) -> Sequence[str]:
        """Return where the sample lies that a worker reads, or those of the batch that it owes next."""
        sample = self._desks.sample(worker)
        number = self.batches.start + workers.next_batch(self._due, worker, self.options.num_workers)
        indices = self.batches.own_places(number).indices.tolist() if number < len(self) else []
        return [self.samples.dataset.location(index) for index in (indices if sample is None else [sample])]

    def workers(self) -> Sequence[BaseProcess]:
        """Return the worker processes that run now."""
        return getattr(self._running, "_workers", ())

    def close(self) -> None:
        """End the workers at once."""
        running, self._running = self._running, None
        if self._loader is None or running is None:
            return
        self._loader._iterator = None
        shared_memory.forget(worker.pid for worker in running._workers)
        workers.end(running._workers)
        running._shutdown_workers()


@contextmanager
def _any_number_of_workers() -> Iterator[None]:
    """Keep torch from warning of more workers than cores: that is the user's choice, and the doctor's to judge."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        yield


def _context(start_method: StartMethod) -> str:
    """Forked workers share the dataset's arrays and start at once; macOS's libraries do not survive a fork."""
    forks = os.name == "posix" and sys.platform != "darwin"
    return ("fork" if forks else "spawn") if start_method == "auto" else start_method


def _start_worker(desks: workers.Desks, count: int, number: int) -> None:
    """Prepare a worker process, which will note what it reads and hand over in so many slots.

    One more than it has ready is being filled, and one the user holds until the next has come.
    """
    desks.start_worker(number)
    _workers_samples().slots = shared_memory.Slots(count)


def _packed(batch: Batch | Exception) -> Packed | Exception:
    """Return what a worker hands over: each tensor costs a message of its own, so the images are the only one."""
    if isinstance(batch, Exception):
        return batch
    lent = _workers_samples().slots
    assert lent is not None
    return lent.lend(batch.images), batch.indices.numpy(), batch.bad


def _workers_samples() -> Samples:
    """Return this worker's own copy of the samples."""
    info = get_worker_info()
    assert info is not None
    assert isinstance(info.dataset, Samples)
    return info.dataset
