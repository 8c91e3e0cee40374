"""Scores in detail: which classes are confused, how good each is, and whether confidence can be trusted.

All sums have a fixed size, so an evaluation may be as long as it likes. Scores are counted in 1,000 bins of
confidence; the curves agree with torchmetrics' within a bin (tested), whose import alone takes 3 s.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from expkit.config.registry import watchers
from expkit.core.errors import ConfigError
from expkit.core.plots.heatmap import draw_matrix
from expkit.loggers.figures import Curves, Matrix, Picture, Table
from expkit.training.metric import confusion_counts
from expkit.training.watch.base import Judged, Shown, Watcher, Where, array

BINS = 1000
_MOST_CLASSES = 200  # a larger confusion matrix is no picture any more


class _Counts(Watcher):
    """Counts decisions: `counts` (C, C), true class by predicted class."""

    @property
    def can_be_shown(self) -> bool:
        return self.scene.task != "multilabel" and len(self.scene.class_names) <= _MOST_CLASSES

    def before_evaluation(self) -> None:
        size = len(self.scene.class_names) if self.can_be_shown else 0  # of 20,000 classes it would be 3 GB
        self.counts = np.zeros((size, size), dtype=np.int64)

    def judge(self, judged: Judged) -> None:
        if not self.can_be_shown:
            return
        self.counts += confusion_counts(judged.probabilities, judged.targets).cpu().numpy()


class Confusion(_Counts):
    """The confusion matrix, as numbers and as a picture."""

    def evaluated(self, where: Where) -> Shown:
        names = list(self.scene.class_names)
        if not self.can_be_shown:
            return ()
        rows = [[name, *counts] for name, counts in zip(names, self.counts.tolist(), strict=True)]
        right, total = int(np.trace(self.counts)), int(self.counts.sum())
        title = f"confusion after epoch {where.epoch + 1}: {right:,} of {total:,} right"
        drawn = np.asarray(draw_matrix(self.counts, names, title))
        place = where.epoch, where.step
        return [
            Matrix("val/confusion_matrix", *place, ["true", *names], rows),
            Picture("val/confusion_matrix_picture", *place, drawn, "rows: true class, columns: predicted class"),
        ]


class _Binned(Watcher):
    """Counts probabilities in bins: `positive` and `negative` (C, BINS), by whether the class is there."""

    def before_evaluation(self) -> None:
        shape = (len(self.scene.class_names), BINS)
        self.positive, self.negative = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)

    def judge(self, judged: Judged) -> None:
        there = judged.targets > 0.5
        if judged.targets.ndim == 1:
            there = torch.nn.functional.one_hot(judged.targets, judged.probabilities.shape[1]).bool()
        places = (judged.probabilities * BINS).long().clamp(0, BINS - 1)
        places += torch.arange(places.shape[1], device=places.device) * BINS
        for counts, chosen in ((self.positive, there), (self.negative, ~there)):
            counts += torch.bincount(places[chosen], minlength=counts.size).view(counts.shape).cpu().numpy()

    def precision_recall(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return precision (C, BINS), recall (C, BINS) from the highest threshold down, and average precision (C,)."""
        hits, false = (np.cumsum(counts[:, ::-1], axis=1) for counts in (self.positive, self.negative))
        precision = np.divide(hits, hits + false, out=np.ones(hits.shape), where=hits + false > 0)
        recall = hits / np.maximum(hits[:, -1:], 1)
        average = (np.diff(recall, axis=1, prepend=0.0) * precision).sum(axis=1)
        return precision, recall, average


class PerClass(_Binned):
    """Each class's precision, recall, F1, average precision, and number of samples, at the decision that is taken."""

    def before_evaluation(self) -> None:
        super().before_evaluation()
        self._sums = np.zeros((3, len(self.scene.class_names)), dtype=np.int64)  # said, there, both

    def judge(self, judged: Judged) -> None:
        super().judge(judged)
        size = judged.probabilities.shape[1]
        if judged.targets.ndim == 1:
            said, there = (_one_hot(one, size) for one in (judged.probabilities.argmax(1), judged.targets))
        else:
            said, there = judged.probabilities > 0.5, judged.targets > 0.5
        self._sums += torch.stack([said.sum(0), there.sum(0), (said & there).sum(0)]).cpu().numpy()

    def evaluated(self, where: Where) -> Shown:
        said, there, both = self._sums
        precision, recall = both / np.maximum(said, 1), both / np.maximum(there, 1)
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        average = self.precision_recall()[2]
        shares = np.stack([precision, recall, f1, average], axis=1).round(4).tolist()
        names = self.scene.class_names
        rows = [[name, *four, int(count)] for name, four, count in zip(names, shares, there, strict=True)]
        columns = ["class", "precision", "recall", "F1", "average precision", "samples"]
        return [Table("val/per_class", where.epoch, where.step, columns, rows)]


def _one_hot(classes: Tensor, size: int) -> Tensor:
    return torch.nn.functional.one_hot(classes, size).bool()


class PrecisionRecall(_Binned):
    """Precision over recall, of the classes with the lowest average precision."""

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def evaluated(self, where: Where) -> Shown:
        precision, recall, average = self.precision_recall()
        present = [place for place in np.argsort(average, kind="stable") if self.positive[place].any()]
        lines = {}
        for place in present[: self.classes]:
            kept = np.flatnonzero(np.diff(recall[place] + precision[place], prepend=-1.0))
            label = f"{self.scene.class_names[place]} (average precision {average[place]:.3f})"
            lines[label] = ([0.0, *recall[place][kept].tolist()], [1.0, *precision[place][kept].tolist()])
        return [Curves("val/precision_recall", where.epoch, where.step, "recall", "precision", lines)]


class Calibration(Watcher):
    """How often the model is right, over how sure it is (Guo et al. 2017, arXiv 1706.04599)."""

    def __init__(self, bins: int) -> None:
        self.bins = bins

    def before_evaluation(self) -> None:
        self._sums = torch.zeros(3, self.bins, dtype=torch.float64)  # samples, confidence, right

    def judge(self, judged: Judged) -> None:
        if judged.targets.ndim == 1:
            sure, said = judged.probabilities.max(1)
            right = said == judged.targets
        else:
            sure, right = judged.probabilities.flatten(), (judged.targets > 0.5).flatten()
        sure, right = sure.double().cpu(), right.double().cpu()
        places = (sure * self.bins).long().clamp(0, self.bins - 1)
        self._sums += torch.stack(
            [torch.bincount(places, weight, self.bins) for weight in (torch.ones_like(sure), sure, right)]
        )

    def error(self) -> float:
        """Return the expected calibration error: the mean gap between confidence and accuracy."""
        count, sure, right = self._sums
        return float((sure - right).abs().sum() / count.sum().clamp(min=1))

    def evaluated(self, where: Where) -> Shown:
        filled = self._sums[0] > 0
        count, sure, right = self._sums[:, filled]
        x, y = array(sure / count).tolist(), array(right / count).tolist()
        lines = {f"model (calibration error {self.error():.3f})": (x, y), "perfect": ([0.0, 1.0], [0.0, 1.0])}
        return [Curves("val/calibration", where.epoch, where.step, "confidence", "share that is right", lines)]


@watchers.register("confusion_matrix")
def confusion_matrix() -> Confusion:
    """Which class is taken for which."""
    return Confusion()


@watchers.register("per_class")
def per_class() -> PerClass:
    """Precision, recall, F1 and average precision of each class."""
    return PerClass()


@watchers.register("precision_recall")
def precision_recall(classes: int = 8) -> PrecisionRecall:
    """Precision over recall of the classes with the lowest average precision.

    classes: how many of them.
    """
    if classes < 1:
        raise ConfigError(f"watch.precision_recall.classes: takes a whole number from 1 up, got {classes}")
    return PrecisionRecall(classes)


@watchers.register("calibration")
def calibration(bins: int = 15) -> Calibration:
    """How often the model is right over how sure it is.

    bins: of equal width, between a confidence of 0 and 1.
    """
    if bins < 2:
        raise ConfigError(f"watch.calibration.bins: takes a whole number from 2 up, got {bins}")
    return Calibration(bins)
