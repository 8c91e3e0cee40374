"""Files that are there whole or not at all, whatever ends the process that writes them."""

import re
from pathlib import Path

from expkit.core.disk import atomic_write, sync_folder

__all__ = ["atomic_write", "sweep", "sync_folder"]

_TEMPORARY = re.compile(r"\..+\.\d+\.tmp")


def sweep(folder: Path) -> None:
    """Remove the temporary files of a writer that was killed; only who holds the folder's lock may call this."""
    for path in folder.glob(".*.tmp"):
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)
