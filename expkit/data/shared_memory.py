"""Shared memory that each worker fills again and again: fetching fresh pages for a batch costs more than filling them.

A slot is free again once nothing in the training process refers to the batch in it any more, be it by a view.
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

_HEADER = 64  # bytes before the pixels; the first is 1 while a batch lies in the slot

Name = tuple[int, int]  # a worker's process id, and the number of its slot

_shown: dict[Name, NDArray[np.uint8]] = {}  # in the training process: the slots that workers have handed over


class Slots:
    """A worker's slots, at most `count` of them; each grows to the largest batch that it has held."""

    def __init__(self, count: int) -> None:
        self._memory: list[Tensor | None] = [None] * count
        self._is_told = [False] * count
        self._chosen = 0

    def empty(self, shape: tuple[int, ...]) -> Tensor:
        """Return memory for a batch of uint8: that of a free slot, fresh memory where the user holds all of them."""
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
            self._memory[number], self._is_told[number] = memory, False
        return memory

    def lend(self, images: Tensor) -> Any:
        """Return what to send for a batch, which arrives as a tensor: a note where it lies, if it lies in a slot."""
        number, memory = self._chosen, self._memory[self._chosen]
        if memory is None or images.untyped_storage().data_ptr() != memory.untyped_storage().data_ptr():
            return images
        memory[0] = 1
        news = None if self._is_told[number] else memory
        self._is_told[number] = True
        return _Note((os.getpid(), number), news, tuple(images.shape), images.stride())


class _Note:
    """Where a batch lies; unpickled, it is that batch."""

    def __init__(self, *where: Any) -> None:
        self.where = where

    def __reduce__(self) -> tuple[Any, ...]:
        return _lent, self.where


def _lent(name: Name, news: Tensor | None, shape: tuple[int, ...], strides: tuple[int, ...]) -> Tensor:
    """Return the batch that lies in a slot; the slot is given back with the last view of it.

    news: the slot's memory, when it is new.
    """
    if news is not None:
        _shown[name] = news.numpy()
    memory = _shown[name]
    # An array of its own, which torch's storage keeps alive, and which therefore dies after the last tensor on it.
    pixels = memory[_HEADER : _HEADER + math.prod(shape)]
    weakref.finalize(pixels, memory.__setitem__, 0, 0).atexit = False
    return torch.from_numpy(pixels).as_strided(shape, strides)


def forget(workers: Iterable[int | None]) -> None:
    """Let go of the slots of workers that have ended; batches that are still held keep theirs."""
    ended = set(workers)
    for name in [name for name in _shown if name[0] in ended]:
        del _shown[name]
