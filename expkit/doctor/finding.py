"""What the doctor says: a finding, how grave it is, and what fixes it."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["problem", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing worth saying.

    level: a "problem" should be fixed before training and makes the exit code 1, a "note" is only worth knowing.
    about: files, duplicates, classes, images, transforms or machine. remedy: an override, or what else fixes it.
    """

    level: Level
    about: str
    sentence: str
    remedy: str = ""


def listed(words: list[str], shown: int = 3) -> str:
    """Return the first few words, and how many more there are."""
    more = len(words) - shown
    return ", ".join(words[:shown]) + (f" and {more:,} more" if more > 0 else "")
