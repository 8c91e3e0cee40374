"""The run folders, checkpoints and records that begin with what has been typed."""

import os
import re
from pathlib import Path

from expkit.core.run_folder import is_run_folder
from expkit.core.user_folders import expanded

_TO_QUOTE = re.compile(r"[^\w@%+=:,./-]")  # left to the shell, which quotes it


def runs(current: str) -> list[str]:
    """Return run folders, the folders on the way to them, and checkpoints."""
    return _places(current, (".safetensors",))


def records(current: str) -> list[str]:
    """Return run folders, the folders on the way to them, and records in one file."""
    return _places(current, (".zip", ".yaml", ".yml"))


def _places(current: str, suffixes: tuple[str, ...]) -> list[str]:
    folder = current.rpartition("/")[0] + "/" if "/" in current else ""
    try:
        entries = [*os.scandir(expanded(folder or "."))]
    except OSError:
        return []
    found = [place for one in entries if (place := _place(folder, one, suffixes))]
    if not current:
        found += [place for place in _places("outputs/", ()) if not place.endswith("/")]
    return [place for place in found if place.startswith(current)]


def _place(folder: str, entry: os.DirEntry[str], suffixes: tuple[str, ...]) -> str:
    if entry.name.startswith(".") or _TO_QUOTE.search(entry.name):
        return ""
    if entry.is_dir():
        return f"{folder}{entry.name}{'' if is_run_folder(Path(entry.path)) else '/'}"
    return f"{folder}{entry.name}" if entry.name.endswith(suffixes) else ""
