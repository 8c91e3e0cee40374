"""Handles that a process opens for itself: closed before a fork, opened again by whoever reads next."""

import os
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

_ALL: "WeakSet[ClosedBeforeForks]" = WeakSet()


class ClosedBeforeForks:
    """What a data set keeps open, by name; no process has a handle that another one opened."""

    def __init__(self) -> None:
        self._open: dict[str, Any] = {}
        _ALL.add(self)

    def get(self, name: str, opening: Callable[[], Any]) -> Any:
        """Return the handle of a name, opened if it is not."""
        if name not in self._open:
            self._open[name] = opening()
        return self._open[name]

    def close(self) -> None:
        """Close all; the next to read opens them again."""
        while self._open:
            self._open.popitem()[1].close()


def _close_all() -> None:
    for one in list(_ALL):
        one.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_close_all)
