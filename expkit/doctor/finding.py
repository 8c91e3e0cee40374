"""A finding of the doctor: its level and its fix."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["problem", "note"]


@dataclass(frozen=True)
class Finding:
    """One finding.

    level: a "problem" should be fixed before training and makes the exit code 1, a "note" is for information. about:
    files, duplicates, classes, images, transforms or machine. remedy: an override, or what else fixes it.
    """

    level: Level
    about: str
    sentence: str
    remedy: str = ""


def listed(names: list[str], shown: int = 3) -> str:
    """Return the first few names, and how many more there are."""
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more:,} more" if more > 0 else "")
