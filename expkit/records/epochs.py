"""The epochs of a run and their scores, and which one is best."""

import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from expkit.core.formatting import is_number
from expkit.tasks.metrics import METRICS, higher_is_better

_STEP = re.compile(r"_step_(\d+)")
_MAIN = ("map", "accuracy", "loss")  # the default monitor is the first that a run has


@dataclass(frozen=True)
class Epoch:
    """One epoch. number: from 1; step: at its end; scores: name (val/accuracy) -> value."""

    number: int
    step: int
    scores: Mapping[str, float]


def epochs_in(points: Iterable[Mapping[str, Any]]) -> list[Epoch]:
    """Return the epochs among the points of a run, in order; of equal names and steps the last score counts."""
    found: dict[int, Epoch] = {}
    for point in points:
        epoch, step = point.get("epoch"), point.get("step")
        if point.get("kind") == "epoch" and isinstance(epoch, int) and isinstance(step, int):
            scores = {name: float(value) for name, value in point.items() if "/" in name and is_number(value)}
            before = found[step].scores if step in found else {}
            found[step] = Epoch(epoch + 1, step, {**before, **scores})
    return list(found.values())


def monitor_of(result: Mapping[str, Any], config: Mapping[str, Any], epochs: Sequence[Epoch]) -> tuple[str, bool]:
    """Return (the monitored score of a run, whether higher is better)."""
    checkpoint = config.get("checkpoint")
    asked = checkpoint.get("monitor") if isinstance(checkpoint, Mapping) else None
    there = [name.removeprefix("val/") for epoch in epochs for name in epoch.scores if name.startswith("val/")]
    main = next((name for name in (*_MAIN, *there) if name in there), "accuracy")
    name = str(result.get("monitor") or asked or main)
    higher = result.get("higher_is_better")
    return name, higher if isinstance(higher, bool) else higher_is_better(name)


def directions_in(result: Mapping[str, Any]) -> dict[str, bool]:
    """Return whether higher is better of each score, by its name without val/, of which a run's result says so."""
    found, monitor = result.get("directions"), str(result.get("monitor"))
    told = dict(found) if isinstance(found, Mapping) else {}
    if monitor not in METRICS:
        told.setdefault(monitor, result.get("higher_is_better"))
    return {str(name): higher for name, higher in told.items() if isinstance(higher, bool)}


def best_of(epochs: Sequence[Epoch], result: Mapping[str, Any], monitor: str, higher: bool) -> Epoch | None:
    """Return the epoch of the best checkpoint; without one, the first epoch with the best score."""
    if found := _STEP.search(str(result.get("best", ""))):
        for epoch in epochs:
            if epoch.step == int(found[1]):
                return epoch
    sign = 1 if higher else -1
    scores = [(epoch, monitored(epoch.scores, monitor)) for epoch in epochs]
    finite = [(epoch, score) for epoch, score in scores if score is not None and math.isfinite(score)]
    return max(finite, key=lambda pair: sign * pair[1], default=(None, 0.0))[0]


def monitored(scores: Mapping[str, float], monitor: str) -> float | None:
    """Return the monitored score; a watcher's has no prefix val/."""
    return scores.get(f"val/{monitor}", scores.get(monitor))


def numbers(found: object) -> dict[str, float]:
    """Return the numbers among the values of an untrusted mapping."""
    if not isinstance(found, Mapping):
        return {}
    return {str(name): float(one) for name, one in found.items() if is_number(one) and not math.isinf(one)}


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and sample standard deviation (0 for one value); NaN if any value is not finite."""
    if not values or not all(map(math.isfinite, values)):
        return math.nan, math.nan
    try:
        return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0
    except OverflowError:
        return math.nan, math.nan
