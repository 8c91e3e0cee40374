"""Files that are there whole or not at all, whatever ends the process that writes them."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

Result = TypeVar("Result")
_TEMPORARY = re.compile(r"\..+\.\d+\.tmp")


def write_whole(path: Path, write: Callable[[BinaryIO], Result]) -> Result:
    """Write a file through a temporary one in the same folder, so that a crash leaves the old one or the new one.

    Returns what `write` returns. Raises OSError; the temporary file is gone by then.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            result = write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return result


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last: after a power cut a file is only there if its folder was written too."""
    if os.name != "posix":  # a folder cannot be opened elsewhere
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Remove the temporary files of a writer that was killed; only who holds the folder's lock may call this."""
    for path in folder.glob(".*.tmp"):
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)
