"""A job of a sweep: its frozen config, what differs from the others, and its outcome."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Status = Literal["waiting", "running", "finished", "failed", "interrupted", "pruned"]


@dataclass
class SweepJob:
    """One job. number: from 0, never changed; config: frozen when the sweep began; digest: of what it computes.

    differs: the swept keys and their values, as typed; monitor, higher: the score by which jobs are ranked, and whether
    higher is better; scale: what is measured and how, since jobs of two scales have no common ranking; threads: of each
    attempt, since sums depend on them; trial: its number in the study of a search.
    """

    number: int
    overrides: list[str]
    config: dict[str, Any]
    digest: str
    differs: dict[str, str] = field(default_factory=dict)
    monitor: str = "accuracy"
    higher: bool = True
    threads: int = 1
    trial: int | None = None
    scale: str = ""

    @property
    def order(self) -> tuple[str, str, bool]:
        """What is equal for jobs that may be ranked together."""
        return self.scale, self.monitor, self.higher

    @property
    def label(self) -> str:
        return ", ".join(f"{key}={brief(value)}" for key, value in self.differs.items()) or "the job"


@dataclass
class Outcome:
    """The state of a job. scores: of its last epoch (val/accuracy: 0.9); score: the best of what it is ranked by.

    best_epoch, best_scores: the epoch of the best checkpoint, from 1, and all scores after it. folder: its run folder,
    None before it has one; seconds: of all attempts; epoch: the last that is done.
    """

    status: Status = "waiting"
    folder: Path | None = None
    reason: str = ""
    seconds: float = 0.0
    epoch: int = 0
    scores: Mapping[str, float] = field(default_factory=dict)
    score: float | None = None
    best_epoch: int | None = None
    best_scores: Mapping[str, float] = field(default_factory=dict)
    earlier: int = 0  # attempts before this one


def brief(value: str) -> str:
    """Return a value for a table: of a number that was drawn, its first digits."""
    if len(value) <= 8 or value.isdigit():
        return value
    try:
        return f"{float(value):.4g}"
    except ValueError:
        return value


def differing(overrides: Sequence[str], varied: Sequence[str]) -> dict[str, str]:
    """Return the values of the swept keys among a job's overrides."""
    found = dict(word.partition("=")[::2] for word in overrides)
    return {key.lstrip("+"): found[key] for key in varied if key in found}
