"""Progress bars, drawn on standard error so that results may be piped."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from expkit.core.terminal import Console

Item = TypeVar("Item")
_REDRAW_EVERY = 0.1  # seconds
_LINE_EVERY = 10.0  # seconds, where lines are written


@contextmanager
def bar(what: str, total: int | None, items: str = "") -> Iterator[Any]:
    """Show a bar on a terminal, and yield what to call with the number of items done, and a new label if it changes.

    total: None where it is not known. items: what they are (jobs), for work so long that a file or pipe gets lines in
    place of the bar: at once, and then every 10 seconds. It is drawn when called and not from a thread, since workers
    are forked meanwhile.
    """
    console = Console(stderr=True)
    if not console.is_terminal:  # there a bar would leave an empty line
        yield _lines(what, total, items) if items else lambda *done: None
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown = Progress(*columns, console=console, auto_refresh=False, transient=True)
    task = shown.add_task(what, total=total)
    drawn = 0.0

    def advance(count: int, label: str = what) -> None:
        nonlocal drawn
        shown.update(task, advance=count, description=label)
        if (now := time.monotonic()) - drawn >= _REDRAW_EVERY:
            drawn = now
            shown.refresh()

    with shown:
        yield advance


def _lines(what: str, total: int | None, items: str) -> Callable[[int], None]:
    """Return what to call with the number of items that were done; it writes a line every 10 seconds."""
    print(f"{what} {total} {items}", file=sys.stderr, flush=True)
    done, written = 0, time.monotonic()

    def advance(count: int) -> None:
        nonlocal done, written
        done += count
        if time.monotonic() - written >= _LINE_EVERY and done != total:
            written = time.monotonic()
            print(f"{what}: {done} of {total} {items}", file=sys.stderr, flush=True)

    return advance


def tracked(items: Iterable[Item], what: str, total: int | None) -> Iterator[Item]:
    """Yield the items while a bar shows how many have been taken."""
    with bar(what, total) as advance:
        for item in items:
            yield item
            advance(1)
