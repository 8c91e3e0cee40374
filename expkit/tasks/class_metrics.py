"""The metrics of classification: of (N, C) scores, or probabilities, against (N,) classes or (N, C) of 0 and 1.

Those that evaluation reports are torchmetrics' own sums, which take 3 s to import, and only where they are computed.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from expkit.tasks.metric import KeptSamples, SampleMean

if TYPE_CHECKING:
    from torch import Tensor

BINS = 15  # of the calibration error, as in Guo et al. 2017 (arXiv 1706.04599)


def probabilities_of(logits: Tensor, task: str) -> Tensor:
    """Return the (N, C) probabilities that logits mean."""
    return logits.sigmoid() if task == "multilabel" else logits.softmax(1)


def confusion_counts(scores: Tensor, targets: Tensor) -> Tensor:
    """Return (C, C) int64, true class by predicted class: of (N, C) scores against (N,) classes."""
    size = scores.shape[1]
    cells = targets * size + scores.argmax(1)
    return cells.bincount(minlength=size**2).view(size, size)


def decisions(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return what is said and what is there, (N, C) bool. outputs: (N, C) probabilities."""
    from torch.nn.functional import one_hot

    if targets.ndim > 1:
        return outputs > 0.5, targets > 0.5
    return one_hot(outputs.argmax(1), outputs.shape[1]).bool(), one_hot(targets, outputs.shape[1]).bool()


class Accuracy(SampleMean):
    """Accuracy; multilabel: of a sample's C yes/no decisions. of_probabilities: not of logits."""

    name, key = "accuracy", "correct"

    def __init__(self, of_probabilities: bool = False) -> None:
        self.of_probabilities = of_probabilities

    def right(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return (N,) or, multilabel, (N, C) bool: which decisions are right."""
        if targets.ndim == 1:
            return outputs.argmax(1) == targets
        return (outputs >= 0.5 if self.of_probabilities else outputs > 0) == (targets > 0.5)

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        right = self.right(outputs, targets)
        return right if targets.ndim == 1 else right.float().mean(1)

    def score(self, outputs: Tensor, targets: Tensor) -> float:
        return float(self.right(outputs, targets).float().mean())


class Exact(SampleMean):
    """Multilabel: the share of samples with every decision right."""

    name = key = "exact"

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return Accuracy(of_probabilities=True).right(outputs, targets).all(1)


class TopK(SampleMean):
    """The share of samples whose class is among the k highest scores.

    k: how many of the highest scores count.
    """

    name = key = "top5"

    def __init__(self, k: int = 5) -> None:
        self.k, self.name = k, f"top{k}"

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs.topk(self.k).indices == targets[:, None]).any(1)


class LogLoss(SampleMean):
    """The mean of -log p, p being the true class's probability."""

    name, key, higher_is_better = "loss", "loss", False

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return -outputs.gather(1, targets[:, None])[:, 0].clamp_min(1e-12).log()


class MeanAveragePrecision(KeptSamples):
    """Multilabel: the mean of the average precision of the classes that occur. Of logits."""

    name = "map"

    def score(self, outputs: Tensor, targets: Tensor) -> float:
        present = targets.sum(0) > 0  # a class that never occurs has no precision
        by_class = _computed("average_precision", outputs.sigmoid(), targets, average="none")
        return float(by_class[present].mean())


class F1(KeptSamples):
    """The mean of the classes' F1 scores.

    average: macro (each class weighs the same), weighted (by its samples) or micro (by its decisions).
    """

    def __init__(self, average: Literal["macro", "micro", "weighted"] = "macro") -> None:
        self.average, self.name = average, f"f1_{average}"

    def score(self, outputs: Tensor, targets: Tensor) -> float:
        return float(_computed("f1_score", outputs, targets, average=self.average))


class CalibrationError(KeptSamples):
    """The expected calibration error: the mean gap between confidence and accuracy; multilabel: of all decisions."""

    name, higher_is_better = "calibration_error", False

    def score(self, outputs: Tensor, targets: Tensor) -> float:
        if targets.ndim == 1:
            return float(_computed("calibration_error", outputs, targets, n_bins=BINS, norm="l1"))
        outputs, targets = outputs.flatten(), targets.long().flatten()
        return float(_torchmetrics().binary_calibration_error(outputs, targets, n_bins=BINS, norm="l1"))


class ByClass(KeptSamples):
    """A score of each class, and the mean over those whose score the samples can tell.

    function: torchmetrics' name. needs: what the samples must hold of a class for that.
    """

    function: str
    needs: Literal["nothing", "positives", "both"] = "nothing"

    def by_class(self, outputs: Tensor, targets: Tensor) -> list[float]:
        """Return the score of each class, NaN where the samples cannot tell."""
        found = _computed(self.function, outputs, targets, average="none")
        counts, total = class_counts(targets, outputs.shape[1]), len(targets)
        unknown = {"nothing": (), "positives": (0,), "both": (0, total)}[self.needs]
        return [math.nan if count in unknown else float(score) for score, count in zip(found, counts, strict=True)]

    def score(self, outputs: Tensor, targets: Tensor) -> float:
        return mean_of_known(self.by_class(outputs, targets))


class Precision(ByClass):
    """The precision of each class."""

    name = function = "precision"


class ClassF1(ByClass):
    """The F1 score of each class."""

    name, function = "f1", "f1_score"


class BalancedAccuracy(ByClass):
    """The recall of each class, and the mean over those that occur."""

    name, function, needs = "balanced_accuracy", "recall", "positives"


class Auc(ByClass):
    """The area under the ROC curve of each class against all others."""

    name, function, needs = "auc", "auroc", "both"


class AveragePrecision(ByClass):
    """The average precision of each class, and the mean over those that occur."""

    name, function, needs = "average_precision", "average_precision", "positives"


def class_counts(targets: Tensor, classes: int) -> list[int]:
    """Return the number of samples of each class."""
    counts = targets.bincount(minlength=classes) if targets.ndim == 1 else targets.long().sum(0)
    return [int(count) for count in counts.tolist()]


def mean_of_known(values: Sequence[float]) -> float:
    """Return the mean of those values that are numbers, NaN where none is."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _computed(function: str, outputs: Tensor, targets: Tensor, **options: Any) -> Tensor:
    """Return what torchmetrics computes, without its warnings of classes that do not occur: see ByClass."""
    kind = "multiclass" if targets.ndim == 1 else "multilabel"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found: Tensor = getattr(_torchmetrics(), f"{kind}_{function}")(
            outputs, targets.long(), outputs.shape[1], **options
        )
    return found


def _torchmetrics() -> Any:
    from torchmetrics.functional import classification  # 3 s: not for --help

    return classification
