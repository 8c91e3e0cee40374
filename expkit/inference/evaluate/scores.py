"""Scores of probabilities against targets, over all samples and of each class, with their confidence intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from expkit.inference.evaluate.intervals import Decisions, Interval, bootstrap, wilson
from expkit.tasks.class_metrics import (
    BINS,
    ByClass,
    ClassF1,
    Precision,
    class_counts,
    confusion_counts,
    decisions,
    mean_of_known,
)
from expkit.tasks.metric import KeptSamples, SampleMean
from expkit.tasks.metrics import evaluation_metrics


@dataclass(frozen=True)
class ClassScores:
    """One class: how many images are of it, and its scores; NaN where the images cannot tell."""

    name: str
    count: int
    precision: float
    recall: float
    f1: float
    auc: float
    average_precision: float

    @property
    def main(self) -> float:
        return self.f1


@dataclass(frozen=True)
class Scores:
    """overall: name -> value; by_class: in the model's order, [] for a task without classes; intervals: of some of the
    overall ones.

    by_class holds dataclasses with `name`, `count` and the score `main`.

    confusion: (C, C) true by predicted, if there is one.
    """

    overall: dict[str, float]
    by_class: Sequence[Any]
    intervals: dict[str, Interval]
    confusion: Tensor | None = None

    def row(self) -> dict[str, float]:
        """Return the overall scores, each followed by its interval's limits."""
        found = {}
        for name, value in self.overall.items():
            found[name] = value
            if interval := self.intervals.get(name):
                found |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
        return found


def single_label(probabilities: Tensor, targets: Tensor, names: tuple[str, ...], top_k: int = 5) -> Scores:
    """Score (N, C) probabilities that add up to 1 against (N,) int64 classes.

    auc and average_precision are the means over the classes that occur, each against all others.
    """
    metrics = evaluation_metrics("single_label", len(names), top_k)
    overall, by_class = _scored(metrics, probabilities, targets, names)
    each = {one.name: one.each(probabilities, targets) for one in metrics if isinstance(one, SampleMean)}
    said, there = decisions(probabilities, targets)
    losses, shares = each.pop("loss"), each
    gaps = _gaps(probabilities.amax(1)[:, None], shares["accuracy"][:, None])
    intervals = bootstrap(Decisions(probabilities, there, said, {"loss": losses}, gaps, 1), overall)
    intervals |= {name: wilson(float(share.sum()), len(share)) for name, share in shares.items()}
    return Scores(overall, by_class, intervals, confusion_counts(probabilities, targets))


def multilabel(probabilities: Tensor, targets: Tensor, names: tuple[str, ...]) -> Scores:
    """Score (N, C) probabilities against (N, C) of 0 and 1; a label counts from a probability of 0.5 on.

    accuracy: share of the N x C decisions that are right; exact: share of images with every decision right.
    """
    metrics = evaluation_metrics("multilabel", len(names))
    overall, by_class = _scored(metrics, probabilities, targets, names)
    each = {one.name: one.each(probabilities, targets) for one in metrics if isinstance(one, SampleMean)}
    exact, said, there = each.pop("exact"), probabilities >= 0.5, targets > 0.5
    drawn = Decisions(probabilities, there, said, each, _gaps(probabilities, there), len(names))
    # The decisions on one image are not independent, so that Wilson's interval would be too narrow.
    intervals = bootstrap(drawn, overall) | {"exact": wilson(float(exact.sum()), len(exact))}
    return Scores(overall, by_class, intervals)


def _scored(
    metrics: Sequence[SampleMean | KeptSamples], probabilities: Tensor, targets: Tensor, names: Sequence[str]
) -> tuple[dict[str, float], list[ClassScores]]:
    """Return what the metrics are over all samples, and of each class; none is computed twice."""
    columns = {one.name: one.by_class(probabilities, targets) for one in (Precision(), ClassF1())}
    overall = {}
    for metric in metrics:
        if isinstance(metric, ByClass):
            columns[metric.name] = metric.by_class(probabilities, targets)
            overall[metric.name] = mean_of_known(columns[metric.name])
        else:
            overall[metric.name] = metric.score(probabilities, targets)
    counts = class_counts(targets, len(names))
    words = ("precision", "balanced_accuracy", "f1", "auc", "average_precision")
    rows = zip(names, counts, *(columns[word] for word in words), strict=True)
    return overall, [ClassScores(*row) for row in rows]


def _gaps(confidences: Tensor, truths: Tensor) -> Tensor:
    """Return (N, B) sums of confidence - truth in each bin, of (N, K) decisions; a confidence of 1 has a bin alone."""
    edges = torch.linspace(0, 1, BINS + 1)
    places = torch.bucketize(confidences.contiguous(), edges, right=True) - 1
    return torch.zeros(len(places), BINS + 1).scatter_add_(1, places, confidences - truths.float())
