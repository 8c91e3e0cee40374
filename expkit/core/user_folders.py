"""The user's home and cache folders, which may be missing: a container's user may have neither name nor home."""

import os
from pathlib import Path


def expanded(path: str | Path) -> Path:
    """Return a path with `~` as the home folder; one that begins with the name of nobody stays as it is."""
    return Path(os.path.expanduser(path))


def home_folder() -> Path:
    """Return the home folder; `~` where there is none."""
    return expanded("~")


def cache_folder() -> Path:
    """Return where expkit keeps what it can make again: $XDG_CACHE_HOME/expkit, or ~/.cache/expkit.

    Without a home it is a place in which nothing can be made, so that nothing is cached.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(given):  # its specification says to ignore any other
        return Path(given) / "expkit"
    home = home_folder()
    return (home / ".cache" if home.is_absolute() else Path(os.devnull)) / "expkit"
