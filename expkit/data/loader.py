"""The data loader: batches of uint8 images, identical for any number of workers."""

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
from expkit.data.batches import BadSample, Batch, BatchIndices, Samples
from expkit.data.decode import BadImage
from expkit.data.samplers import Order

StartMethod = Literal["auto", "fork", "spawn", "forkserver"]


SentBatch = tuple[Any, NDArray[np.int64], tuple[BadSample, ...], Any]


class TooManyBad(Exception):
    """More samples are unreadable than dataset.max_bad allows; the message names some."""


class BatchSampler(Sampler[BatchIndices]):
    """Yields the indices of each batch of an epoch; `jump` to any epoch and step is free.

    part: (number, count) of this process if several processes share each batch; the order does not depend on it.
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

    def __iter__(self) -> Iterator[BatchIndices]:
        return (self.rank_indices(number) for number in range(self.start, len(self)))

    def rank_indices(self, number: int) -> BatchIndices:
        """Return this process's contiguous part of batch `number`; it may be empty."""
        batch, (part, parts) = self.batch_indices(number), self.part
        first, end = (len(batch.indices) * bound // parts for bound in (part, part + 1))
        return BatchIndices(batch.epoch, batch.first + first, batch.indices[first:end])

    def batch_indices(self, number: int) -> BatchIndices:
        """Return the indices of batch `number` of the epoch."""
        if self._drawn[0] != self.epoch:
            self._drawn = self.epoch, self.order.draw(generator(derive_seed(self.seed, "order", self.epoch)))
        first = number * self.batch_size
        return BatchIndices(self.epoch, first, self._drawn[1][first : first + self.batch_size])


@dataclass(frozen=True)
class LoaderOptions:
    """How batches are read and prefetched.

    num_workers: processes that read and transform, 0: the training process does; prefetch: batches that each worker
    prepares in advance. timeout: seconds to wait for a worker before raising an error. pin_memory: for asynchronous
    copies to a CUDA device. persistent: keep workers between epochs. start_method: how workers start; "auto" forks
    where possible. max_bad: unreadable samples that are allowed, as a count or a fraction of the dataset, None for any
    number.
    """

    num_workers: int = 0
    prefetch: int = 2
    timeout: float = 60.0
    pin_memory: bool = False
    persistent: bool = True
    start_method: StartMethod = "auto"
    max_bad: float | None = None


class Loader:
    """Yields the batches of an epoch, from any step on.

    part: see BatchSampler. report: called once with each bad sample.
    """

    def __init__(
        self, samples: Samples, order: Order, batch_size: int, options: LoaderOptions | None = None, *,
        drop_last: bool = False, part: tuple[int, int] | None = None,
    ) -> None:  # fmt: skip
        options = options or LoaderOptions()
        self.batches = BatchSampler(order, samples.seed, batch_size, drop_last, part or (0, 1))
        self.samples, self.options = samples, options
        self.bad, self._is_multi_process = dict[int, BadSample](), part is not None
        self.report: Callable[[BadSample], object] = lambda bad: None
        self._next_batch = 0  # number of the next batch, counted from where the epoch was entered
        self._is_waiting = False  # True while waiting for it
        self._tracker = workers.ReadTracker(options.num_workers)
        self._running: Any = None  # torch's iterator, which owns the worker processes
        self._loader: DataLoader[Any] | None = None
        if options.num_workers:
            with _any_number_of_workers():
                self._loader = DataLoader(
                    samples,
                    batch_sampler=self.batches,  # type: ignore[arg-type]  # one object holds the indices of a whole batch
                    collate_fn=_to_send,  # type: ignore[arg-type]
                    num_workers=options.num_workers,
                    pin_memory=options.pin_memory,
                    prefetch_factor=options.prefetch,
                    persistent_workers=options.persistent,
                    timeout=options.timeout,
                    worker_init_fn=functools.partial(_start_worker, self._tracker, options.prefetch + 2),
                    multiprocessing_context=_context(options.start_method),
                    generator=torch.Generator(),  # torch draws a base seed: keep it off the default generator
                )

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from batch number `start` on, without reading earlier images.

        Raises BadImage for an unreadable file if on_bad is "fail", TooManyBad, and ConfigError for images that do not
        stack.
        """
        self.batches.jump(epoch, start)
        self._next_batch, self._is_waiting = 0, True
        for result in self._read_by_workers() if self._loader else self._read_here():
            self._next_batch, self._is_waiting = self._next_batch + 1, False
            if isinstance(result, Exception):
                raise result
            batch = result if isinstance(result, Batch) else self._received(*result)
            for bad in batch.bad:
                self._record_bad(bad)
            if self._is_multi_process:  # even if it is the only one: it divides its losses by the whole batch
                number = self.batches.start + self._next_batch - 1
                batch = batch._replace(total=len(self.batches.batch_indices(number).indices))
            yield batch
            self._is_waiting = True
        self._is_waiting = False

    def _read_by_workers(self) -> Iterator[Any]:
        assert self._loader is not None
        before = {worker.pid for worker in self.workers()}
        workers.share_temporary_folder()
        try:
            with _any_number_of_workers(), signals_wait():
                self._running = iter(self._loader)
        finally:
            workers.end_at_exit()
            workers.death_signals.gate()
        shared_memory.forget(before - {worker.pid for worker in self.workers()})
        for _ in range(len(self.batches) - self.batches.start):
            workers.death_signals.wait()
            try:
                result = next(self._running)
            finally:
                workers.death_signals.is_waiting = False
            yield result

    def _read_here(self) -> Iterator[Batch | Exception]:
        for indices in self.batches:
            batch = self.samples.__getitems__(indices)
            if self.options.pin_memory and isinstance(batch, Batch):
                batch = batch._replace(images=batch.images.pin_memory(), targets=batch.targets.pin_memory())
            yield batch

    def _received(self, images: Tensor, indices: NDArray[np.int64], bad: tuple[BadSample, ...], sent: Any) -> Batch:
        """Return the batch that a worker sent. sent: its targets, None if they are known here."""
        targets = torch.from_numpy(self.samples.dataset.targets[indices] if sent is None else sent)
        numbers = torch.from_numpy(indices)
        return Batch(images, targets.pin_memory() if self.options.pin_memory else targets, numbers, bad)

    def _record_bad(self, bad: BadSample) -> None:
        if bad.sample in self.bad:
            return
        self.bad[bad.sample] = bad
        self.report(bad)
        total = len(self.samples.dataset)
        limit = self.options.max_bad * total if isinstance(self.options.max_bad, float) else self.options.max_bad
        if limit is not None and len(self.bad) > limit:
            named = "; ".join(str(BadImage(sample.location, sample.reason)) for sample in list(self.bad.values())[:3])
            raise TooManyBad(
                f"{len(self.bad)} of {count_noun(total, 'sample')} cannot be read,"
                f" more than dataset.max_bad={self.options.max_bad}: {named};"
                " clean the data (python -m expkit doctor lists all), or raise dataset.max_bad"
            )

    def failure(self, error: RuntimeError) -> workers.WorkerFailed | None:
        """Return a WorkerFailed that names the samples, if the error comes from a worker of this loader."""
        running, reads = self.workers(), lambda worker: self._tracker.sample(worker) is not None
        return workers.failure(
            error,
            running,
            self._next_batch if self._is_waiting else None,
            reads,
            self._samples_held,
            self.options.timeout,
        )

    def _samples_held(self, worker: int) -> Sequence[str]:
        """Return the location of the sample that a worker is reading, or of all samples in its next batch."""
        sample = self._tracker.sample(worker)
        number = self.batches.start + workers.next_batch(self._next_batch, worker, self.options.num_workers)
        indices = self.batches.rank_indices(number).indices.tolist() if number < len(self) else []
        return [self.samples.dataset.location(index) for index in (indices if sample is None else [sample])]

    def workers(self) -> Sequence[BaseProcess]:
        """Return the running worker processes."""
        return getattr(self._running, "_workers", ())

    def close(self) -> None:
        """Kill the workers."""
        running, self._running = self._running, None
        if self._loader is None or running is None:
            return
        self._loader._iterator = None
        shared_memory.forget(worker.pid for worker in running._workers)
        workers.end(running._workers)
        running._shutdown_workers()


@contextmanager
def _any_number_of_workers() -> Iterator[None]:
    """Silence torch's warning about more workers than cores: the user chose it, and the doctor checks it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        yield


def _context(start_method: StartMethod) -> str:
    """Return the start method: forks share the dataset's arrays, but macOS's libraries do not survive one."""
    forks = os.name == "posix" and sys.platform != "darwin"
    return ("fork" if forks else "spawn") if start_method == "auto" else start_method


def _start_worker(tracker: workers.ReadTracker, count: int, number: int) -> None:
    """Prepare a worker process, which records what it reads and sends batches in `count` slots.

    Beyond the prefetched batches, one is being filled and one is in use by the training process.
    """
    tracker.start_worker(number)
    _samples_of_worker().slots = shared_memory.Slots(count)


def _to_send(batch: Batch | Exception) -> SentBatch | Exception:
    """Return what a worker sends: each tensor costs a separate message, so only the images are one.

    Targets that were read travel as an array, within the batch's own message.
    """
    if isinstance(batch, Exception):
        return batch
    slots = _samples_of_worker().slots
    assert slots is not None
    targets = batch.targets.numpy() if _samples_of_worker().dataset.reads_targets else None
    return slots.lend(batch.images), batch.indices.numpy(), batch.bad, targets


def _samples_of_worker() -> Samples:
    """Return this worker's copy of the samples."""
    info = get_worker_info()
    assert info is not None
    assert isinstance(info.dataset, Samples)
    return info.dataset
