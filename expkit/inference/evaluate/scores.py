"""Scores of probabilities against targets; the sums are torchmetrics' own, which is imported here and nowhere else."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from expkit.inference.evaluate.intervals import Decisions, Interval, bootstrap, wilson
from expkit.training.metric import top_k_hits

BINS = 15  # of the calibration error, as in Guo et al. 2017 (arXiv 1706.04599)


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


@dataclass(frozen=True)
class Scores:
    """overall: name -> value; by_class: in the model's order; intervals: of some of the overall ones.

    confusion: (C, C) true by predicted, if there is one.
    """

    overall: dict[str, float]
    by_class: list[ClassScores]
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
    tm = _torchmetrics()
    classes = len(names)
    right = probabilities.argmax(1) == targets
    shares = {"accuracy": right}
    if top_k < classes:
        shares[f"top{top_k}"] = top_k_hits(probabilities, targets, top_k)
    losses = -probabilities.gather(1, targets[:, None])[:, 0].clamp_min(1e-12).log()
    overall = {name: float(share.float().mean()) for name, share in shares.items()} | {"loss": float(losses.mean())}
    with _quiet():
        given: tuple[Any, ...] = (probabilities, targets, classes)
        for average in ("macro", "weighted"):
            overall[f"f1_{average}"] = float(tm.multiclass_f1_score(*given, average=average))
        per_class = [
            part(*given, average="none")
            for part in (
                tm.multiclass_precision, tm.multiclass_recall, tm.multiclass_f1_score, tm.multiclass_auroc,
                tm.multiclass_average_precision,
            )
        ]  # fmt: skip
        error = tm.multiclass_calibration_error(*given, n_bins=BINS, norm="l1")
        confusion = tm.multiclass_confusion_matrix(*given)
    by_class = _by_class(names, torch.bincount(targets, minlength=classes), len(targets), per_class)
    overall |= _means(by_class) | {"calibration_error": float(error)}
    there, said = (one_hot(one, classes).bool() for one in (targets, probabilities.argmax(1)))
    gaps = _gaps(probabilities.amax(1)[:, None], right[:, None])
    intervals = bootstrap(Decisions(probabilities, there, said, {"loss": losses}, gaps, 1), overall)
    intervals |= {name: wilson(float(share.sum()), len(share)) for name, share in shares.items()}
    return Scores(overall, by_class, intervals, confusion)


def multilabel(probabilities: Tensor, targets: Tensor, names: tuple[str, ...], threshold: float = 0.5) -> Scores:
    """Score (N, C) probabilities against (N, C) of 0 and 1; a label counts from the threshold on.

    accuracy: share of the N x C decisions that are right; exact: share of images with every decision right.
    """
    tm = _torchmetrics()
    targets = targets.long()
    right = (probabilities >= threshold) == targets.bool()
    overall = {"accuracy": float(right.float().mean()), "exact": float(right.all(1).float().mean())}
    with _quiet():
        given: tuple[Any, ...] = (probabilities, targets, len(names))
        for average in ("macro", "micro", "weighted"):
            overall[f"f1_{average}"] = float(tm.multilabel_f1_score(*given, threshold=threshold, average=average))
        per_class = [
            part(*given, threshold=threshold, average="none")
            for part in (tm.multilabel_precision, tm.multilabel_recall, tm.multilabel_f1_score)
        ] + [part(*given, average="none") for part in (tm.multilabel_auroc, tm.multilabel_average_precision)]
        error = tm.binary_calibration_error(probabilities.flatten(), targets.flatten(), n_bins=BINS, norm="l1")
    by_class = _by_class(names, targets.sum(0), len(targets), per_class)
    overall |= _means(by_class) | {"calibration_error": float(error)}
    gaps, each = _gaps(probabilities, targets), {"accuracy": right.float().mean(1)}
    drawn = Decisions(probabilities, targets.bool(), probabilities >= threshold, each, gaps, len(names))
    # The decisions on one image are not independent, so that Wilson's interval would be too narrow.
    intervals = bootstrap(drawn, overall) | {"exact": wilson(float(right.all(1).sum()), len(right))}
    return Scores(overall, by_class, intervals)


def _gaps(confidences: Tensor, truths: Tensor) -> Tensor:
    """Return (N, B) sums of confidence - truth in each bin, of (N, K) decisions; a confidence of 1 has a bin alone."""
    edges = torch.linspace(0, 1, BINS + 1)
    places = torch.bucketize(confidences.contiguous(), edges, right=True) - 1
    return torch.zeros(len(places), BINS + 1).scatter_add_(1, places, confidences - truths.float())


def _by_class(names: tuple[str, ...], counts: Tensor, total: int, parts: list[Tensor]) -> list[ClassScores]:
    rows = []
    for place, name in enumerate(names):
        count = int(counts[place])
        precision, recall, f1, auc, average_precision = (float(part[place]) for part in parts)
        if not count:
            recall = average_precision = math.nan
        if count in (0, total):
            auc = math.nan
        rows.append(ClassScores(name, count, precision, recall, f1, auc, average_precision))
    return rows


def _means(by_class: list[ClassScores]) -> dict[str, float]:
    """Return the means over the classes whose score the images can tell."""
    means = {}
    for word in ("recall", "auc", "average_precision"):
        known = [value for one in by_class if not math.isnan(value := getattr(one, word))]
        means[{"recall": "balanced_accuracy"}.get(word, word)] = sum(known) / len(known) if known else math.nan
    return means


def _torchmetrics() -> Any:
    from torchmetrics.functional import classification  # 3 s: not for --help

    return classification


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torchmetrics from warning of classes that do not occur: they are left out of the means here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield
