"""Shared memory that workers reuse: allocating fresh pages for a batch costs more than filling them.

A slot is free again once nothing in the training process, not even a view, refers to its batch.
"""

import math
import os
import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_HEADER = 64  # bytes before the pixels; the first is 1 while the slot holds a batch

Name = tuple[int, int]  # a worker's process id, and the number of its slot

_attached: dict[Name, NDArray[np.uint8]] = {}  # in the training process: the slots received from workers


class Slots:
    """The slots of a worker, at most `count`; each grows to the largest batch that it has held."""

    def __init__(self, count: int) -> None:
        self._memory: list[Tensor | None] = [None] * count
        self._is_sent = [False] * count
        self._chosen = 0

    def empty(self, shape: tuple[int, ...]) -> Tensor:
        """Return memory for a batch of uint8: a free slot, or fresh memory if all slots are in use."""
        for number, memory in enumerate(self._memory):
            if memory is None or not memory[0]:
                self._chosen = number
                return self._sized(number, _HEADER + math.prod(shape))[_HEADER:][: math.prod(shape)].view(shape)
        return torch.empty(shape, dtype=torch.uint8)

    def _sized(self, number: int, size: int) -> Tensor:
        memory = self._memory[number]
        if memory is None or len(memory) < size:
            memory = torch.zeros(size, dtype=torch.uint8)
            memory.share_memory_()  # type: ignore[no-untyped-call]
            self._memory[number], self._is_sent[number] = memory, False
        return memory

    def lend(self, images: Tensor) -> Any:
        """Return what to send for a batch: a reference, if it lies in a slot; it arrives as a tensor."""
        number, memory = self._chosen, self._memory[self._chosen]
        if memory is None or images.untyped_storage().data_ptr() != memory.untyped_storage().data_ptr():
            return images
        memory[0] = 1
        new_memory = None if self._is_sent[number] else memory
        self._is_sent[number] = True
        return _SlotReference((os.getpid(), number), new_memory, tuple(images.shape), images.stride())


class _SlotReference:
    """A reference to a batch in a slot; unpickling it gives the batch."""

    def __init__(self, *where: Any) -> None:
        self.where = where

    def __reduce__(self) -> tuple[Any, ...]:
        return _attach, self.where


def _attach(name: Name, new_memory: Tensor | None, shape: tuple[int, ...], strides: tuple[int, ...]) -> Tensor:
    """Return the batch in a slot; the slot is freed with the last view of it.

    new_memory: the slot's memory, sent only the first time.
    """
    if new_memory is not None:
        _attached[name] = new_memory.numpy()
    memory = _attached[name]
    # A new array, which torch's storage keeps alive, so that it is finalized after the last tensor on it.
    pixels = memory[_HEADER : _HEADER + math.prod(shape)]
    weakref.finalize(pixels, memory.__setitem__, 0, 0).atexit = False
    return torch.from_numpy(pixels).as_strided(shape, strides)


def forget(workers: Iterable[int | None]) -> None:
    """Drop the slots of ended workers; batches still in use keep their memory."""
    ended = set(workers)
    for name in [name for name in _attached if name[0] in ended]:
        del _attached[name]
