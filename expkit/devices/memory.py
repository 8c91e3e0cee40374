"""Memory that ran out: how to tell it from other errors."""

import errno

import torch

_WORDS = ("can't allocate memory", "not enough memory", "Cannot allocate memory", "out of memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether memory ran out: torch has a class of its own for GPUs, and only words for the CPU and its workers."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)
