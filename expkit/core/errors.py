"""A user's mistake, and the nearest name to a misspelt one."""

import difflib
from collections.abc import Iterable

from expkit.core.escaping import shortened


class ConfigError(Exception):
    """A user's mistake: one or more sentences, each beginning with the config path it is about."""

    def __init__(self, *faults: str) -> None:
        self.faults = tuple(shortened(str(fault)) for fault in faults)  # foreign files name what they like
        super().__init__("\n".join(self.faults))

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows: the mistake without a traceback, which is of no use to whoever made it."""
        return [f"error: {fault}" for fault in self.faults]


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, the name of its type if it has none."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def nearest(word: object, words: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` with the nearest of the words, or ""."""
    by_lower_case = {known.lower(): known for known in words if known != word}
    matches = difflib.get_close_matches(str(word).lower(), by_lower_case, n=1, cutoff=0.6)
    return f"; did you mean '{by_lower_case[matches[0]]}'?" if matches else ""
