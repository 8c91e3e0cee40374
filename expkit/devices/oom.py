"""Out-of-memory errors: recognise them, and release memory."""

import ctypes
import errno
import sys

import torch

_MESSAGES = ("can't allocate memory", "not enough memory", "Cannot allocate memory", "out of memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Return True if memory ran out: torch has a class for GPUs, but only messages for the CPU and its workers."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return isinstance(error, RuntimeError) and any(message in str(error) for message in _MESSAGES)


def may_be_out_of_memory(error: BaseException) -> bool:
    """Return True if using less memory may help: oneDNN, for convolutions on CPUs, has no specific message."""
    vague = ("could not create a primitive", "could not create a memory", "could not execute a primitive")
    is_vague = isinstance(error, RuntimeError) and any(message in str(error) for message in vague)
    return is_vague or is_out_of_memory(error)


def release_memory() -> None:
    """Return freed memory to the device or the system: the cached blocks may be too small."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)
