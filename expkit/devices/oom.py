"""Memory that ran out: how to tell it from other errors, and how to have some again."""

import ctypes
import errno
import sys

import torch

_WORDS = ("can't allocate memory", "not enough memory", "Cannot allocate memory", "out of memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether memory ran out: torch has a class of its own for GPUs, and only words for the CPU and its workers."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)


def may_be_out_of_memory(error: BaseException) -> bool:
    """Say whether less memory may help: oneDNN, which computes convolutions on CPUs, has no word for its lack."""
    vague = ("could not create a primitive", "could not create a memory", "could not execute a primitive")
    told = isinstance(error, RuntimeError) and any(words in str(error) for words in vague)
    return told or is_out_of_memory(error)


def give_back() -> None:
    """Give freed memory back to the device or the system: what is left of it lies in blocks of sizes too small."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)
