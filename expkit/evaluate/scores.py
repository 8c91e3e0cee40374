"""Scores of probabilities against targets; the sums are torchmetrics' own, which is imported here and nowhere else."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

BINS = 15  # of the calibration error, as in Guo et al. 2017 (arXiv 1706.04599)
_NORMAL_95 = 1.959963984540054  # quantile of the normal distribution: 95 % lie within so many deviations


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
    """overall: name -> value; by_class: in the model's order; confusion: (C, C) true by predicted, if there is one."""

    overall: dict[str, float]
    by_class: list[ClassScores]
    confusion: Tensor | None = None


def wilson(correct: float, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of `count` independent decisions (Wilson 1927, equation for the limits)."""
    if not count:
        return 0.0, 1.0
    share, z2 = correct / count, _NORMAL_95**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _NORMAL_95 / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def single_label(probabilities: Tensor, targets: Tensor, names: tuple[str, ...], top_k: int = 5) -> Scores:
    """Score (N, C) probabilities that add up to 1 against (N,) int64 classes.

    auc and average_precision are the means over the classes that occur, each against all others.
    """
    tm = _torchmetrics()
    classes = len(names)
    right = probabilities.argmax(1) == targets
    low, high = wilson(float(right.sum()), len(targets))
    overall = {"accuracy": float(right.float().mean()), "accuracy_low": low, "accuracy_high": high}
    if top_k < classes:
        overall[f"top{top_k}"] = float((probabilities.topk(top_k).indices == targets[:, None]).any(1).float().mean())
    overall["loss"] = float(-probabilities.gather(1, targets[:, None]).clamp_min(1e-12).log().mean())
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
    return Scores(overall | _means(by_class) | {"calibration_error": float(error)}, by_class, confusion)


def multilabel(probabilities: Tensor, targets: Tensor, names: tuple[str, ...], threshold: float = 0.5) -> Scores:
    """Score (N, C) probabilities against (N, C) of 0 and 1; a label counts from the threshold on.

    accuracy: share of the N x C decisions that are right; exact: share of images with every decision right.
    """
    tm = _torchmetrics()
    targets = targets.long()
    right = (probabilities >= threshold) == targets.bool()
    low, high = wilson(float(right.sum()), right.numel())
    overall = {"accuracy": float(right.float().mean()), "accuracy_low": low, "accuracy_high": high}
    overall["exact"] = float(right.all(1).float().mean())
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
    return Scores(overall | _means(by_class) | {"calibration_error": float(error)}, by_class)


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
