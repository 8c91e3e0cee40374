"""Two runs' points, of steps and of epochs: identical, equal to 1e-6, or from which step on they differ."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from expkit.core.formatting import count_noun

CLOSE = 1e-6
_TIMES = {"seconds", "images_per_second", "data_wait"}  # of the machine, not of the run
_PLACE = {"kind", "step", "epoch"}
Points = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Verdict:
    """kind: "identical", "equal" (to 1e-6), "differs" or "nothing" (no point of both runs); text: the sentence."""

    kind: str
    text: str

    @property
    def holds(self) -> bool:
        return self.kind in ("identical", "equal")


def compare(theirs: Points, ours: Points, last_step: int | None = None) -> Verdict:
    """Compare the points of a record with those of its reproduction; last_step: look no further than this step."""
    if last_step is not None:
        theirs = [point for point in theirs if point["step"] <= last_step]
    found = {(point["kind"], point["step"]): point for point in ours}
    first_close: tuple[int, str] | None = None
    compared = values = 0
    ordered = sorted(theirs, key=lambda point: (point["step"], point["kind"] != "step"))
    for point in ordered:
        if (mine := found.get((point["kind"], point["step"]))) is None:
            if point["kind"] == "epoch" and last_step is not None:
                continue  # the record's epoch ends here only if the shortened run's does
            text = (
                f"differs from step {point['step']} (the record has a {point['kind']} point there, this run has none)"
            )
            return Verdict("differs", text)
        compared += 1
        for name, value in _values(point).items():
            values += 1
            other = mine.get(name)
            if _same(value, other):
                continue
            told = f"first difference: {name} {_shown(value)} / {_shown(other)}"
            if not _is_close(value, other):
                return Verdict("differs", f"differs from step {point['step']} ({told})")
            first_close = first_close or (point["step"], told)
    if not compared:
        return Verdict("nothing", "no point of the record lies in the steps that were run")
    last = max(point["step"] for point in ordered)
    extent = f"{count_noun(compared, 'point')}, {count_noun(values, 'value')}, up to step {last:,}"
    if first_close:
        return Verdict("equal", f"equal to 1e-6 ({extent}; step {first_close[0]}, {first_close[1]})")
    return Verdict("identical", f"identical ({extent})")


def with_weights(verdict: Verdict, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Verdict:
    """Return the verdict on two whole runs: identical points are not enough where the final weights differ."""
    if verdict.kind != "identical" or "weights_sha256" not in theirs or "weights_sha256" not in ours:
        return verdict
    if theirs["weights_sha256"] == ours["weights_sha256"]:
        return Verdict("identical", verdict.text.replace(")", "; the same final weights, bit for bit)"))
    return Verdict("differs", f"the final weights differ, though the points are {verdict.text}")


def is_time(name: str) -> bool:
    """Return True if a value tells of the machine's time and load, which no two runs share."""
    return name in _TIMES or name.endswith(("_seconds", "_per_second")) or name.startswith(("system/", "time/"))


def _values(point: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in point.items() if name not in _PLACE and not is_time(name)}


def _same(value: Any, other: Any) -> bool:
    if isinstance(value, float) and isinstance(other, float) and math.isnan(value):
        return math.isnan(other)
    return type(value) is type(other) and bool(value == other)


def _is_close(value: Any, other: Any) -> bool:
    numbers = isinstance(value, int | float) and isinstance(other, int | float)
    return numbers and math.isclose(value, other, rel_tol=CLOSE, abs_tol=CLOSE)


def _shown(value: Any) -> str:
    """Return a value as short as it may be told; two that differ late show all their digits."""
    return "none" if value is None else f"{value:.9g}" if isinstance(value, float) else str(value)[:40]
