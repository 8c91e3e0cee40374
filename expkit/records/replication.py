"""Compare two runs' points: identical, equal to 1e-6, or different from some step on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from expkit.core.formatting import count_noun

CLOSE = 1e-6
_TIMES = {"seconds", "images_per_second", "data_wait"}
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
    """Compare the points of a record with its reproduction's, up to last_step."""
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
            missing = f"the record has a {point['kind']} point there, this run has none"
            return Verdict("differs", f"differs from step {point['step']} ({missing})")
        compared += 1
        for name, value in _values(point).items():
            values += 1
            other = mine.get(name)
            if _same(value, other):
                continue
            difference = f"first difference: {name} {_shown(value)} / {_shown(other)}"
            if not _is_close(value, other):
                return Verdict("differs", f"differs from step {point['step']} ({difference})")
            first_close = first_close or (point["step"], difference)
    if not compared:
        return Verdict("nothing", "the record has no point in the steps that were run")
    last = max(point["step"] for point in ordered)
    extent = f"{count_noun(compared, 'point')}, {count_noun(values, 'value')}, up to step {last:,}"
    if first_close:
        return Verdict("equal", f"equal to 1e-6 ({extent}; step {first_close[0]}, {first_close[1]})")
    return Verdict("identical", f"identical ({extent})")


def with_weights(verdict: Verdict, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Verdict:
    """Return the verdict on two whole runs, whose final weights must be equal too."""
    if verdict.kind != "identical" or "weights_sha256" not in theirs or "weights_sha256" not in ours:
        return verdict
    if theirs["weights_sha256"] == ours["weights_sha256"]:
        return Verdict("identical", verdict.text.replace(")", "; the same final weights, bit for bit)"))
    return Verdict("differs", f"the final weights differ, though the points are {verdict.text}")


def is_time(name: str) -> bool:
    """Return True if a value measures time or load of the machine, which differ between runs."""
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
    """Return a value as short text; floats have 9 digits, so that small differences are visible."""
    return "none" if value is None else f"{value:.9g}" if isinstance(value, float) else str(value)[:40]
