"""Scores in detail: which classes are confused, how good each is, and whether confidence can be trusted.

All sums have a fixed size, so an evaluation may be as long as it likes. Scores are counted in 1,000 bins of
confidence; the curves agree with torchmetrics' within a bin (tested), whose import alone takes 3 s.
"""

import numpy as np
import torch

from expkit.config.registry import watchers
from expkit.core.errors import ConfigError
from expkit.core.plots.heatmap import draw_matrix
from expkit.loggers.figures import Curves, Matrix, Picture, Table
from expkit.tasks.class_counts import BinnedCalibration, BinnedPrecision, ConfusionCounts, DecisionCounts
from expkit.tasks.metric import Metric
from expkit.training.watch.base import OF_CLASSES, Judged, Shown, Watcher, Where, array

_MOST_CLASSES = 200  # a larger confusion matrix is no picture any more; of 20,000 classes it would be 3 GB


class _Counting(Watcher):
    """Shows what metrics count over an evaluation."""

    kinds = OF_CLASSES

    def metrics(self, classes: int) -> list[Metric]:
        """Return new metrics to count with, none where there is nothing to show."""
        raise NotImplementedError

    def before_evaluation(self) -> None:
        self._metrics = self.metrics(len(self.scene.class_names))
        for metric in self._metrics:
            metric.reset(torch.device("cpu"))

    def judge(self, judged: Judged) -> None:
        for metric in self._metrics:
            metric.update(judged.probabilities, judged.targets)


class Confusion(_Counting):
    """The confusion matrix, as numbers and as a picture."""

    def metrics(self, classes: int) -> list[Metric]:
        self.counted = ConfusionCounts(classes)
        can_be_shown = self.scene.task != "multilabel" and classes <= _MOST_CLASSES
        return [self.counted] if can_be_shown else []

    def evaluated(self, where: Where) -> Shown:
        if not self._metrics:
            return ()
        names, counts = list(self.scene.class_names), self.counted.sums.numpy()
        rows = [[name, *row] for name, row in zip(names, counts.tolist(), strict=True)]
        right, total = int(np.trace(counts)), int(counts.sum())
        title = f"confusion after epoch {where.epoch + 1}: {right:,} of {total:,} right"
        drawn = np.asarray(draw_matrix(counts, names, title))
        place = where.epoch, where.step
        return [
            Matrix("val/confusion_matrix", *place, ["true", *names], rows),
            Picture("val/confusion_matrix_picture", *place, drawn, "rows: true class, columns: predicted class"),
        ]


class PerClass(_Counting):
    """Each class's precision, recall, F1, average precision, and number of samples, at the decision that is taken."""

    def metrics(self, classes: int) -> list[Metric]:
        self.decided, self.binned = DecisionCounts(classes), BinnedPrecision(classes)
        return [self.decided, self.binned]

    def evaluated(self, where: Where) -> Shown:
        shares = np.stack([*self.decided.by_class(), self.binned.curves()[2]], axis=1).round(4).tolist()
        names, there = self.scene.class_names, self.decided.sums[1].tolist()
        rows = [[name, *four, count] for name, four, count in zip(names, shares, there, strict=True)]
        columns = ["class", "precision", "recall", "F1", "average precision", "samples"]
        return [Table("val/per_class", where.epoch, where.step, columns, rows)]


class PrecisionRecall(_Counting):
    """Precision over recall, of the classes with the lowest average precision."""

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def metrics(self, classes: int) -> list[Metric]:
        self.binned = BinnedPrecision(classes)
        return [self.binned]

    def evaluated(self, where: Where) -> Shown:
        precision, recall, average = self.binned.curves()
        occurs = self.binned.sums[1].any(1)
        present = [place for place in np.argsort(average, kind="stable").tolist() if occurs[place]]
        lines = {}
        for place in present[: self.classes]:
            kept = np.flatnonzero(np.diff(recall[place] + precision[place], prepend=-1.0))
            label = f"{self.scene.class_names[place]} (average precision {average[place]:.3f})"
            lines[label] = ([0.0, *recall[place][kept].tolist()], [1.0, *precision[place][kept].tolist()])
        return [Curves("val/precision_recall", where.epoch, where.step, "recall", "precision", lines)]


class Calibration(_Counting):
    """How often the model is right, over how sure it is (Guo et al. 2017, arXiv 1706.04599)."""

    kinds = OF_CLASSES

    def __init__(self, bins: int) -> None:
        self.bins = bins

    def metrics(self, classes: int) -> list[Metric]:
        self.binned = BinnedCalibration(self.bins)
        return [self.binned]

    def evaluated(self, where: Where) -> Shown:
        sums, error = self.binned.sums, self.binned.compute()
        count, sure, right = sums[:, sums[0] > 0]
        x, y = array(sure / count).tolist(), array(right / count).tolist()
        lines = {f"model (calibration error {error:.3f})": (x, y), "perfect": ([0.0, 1.0], [0.0, 1.0])}
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
        raise ConfigError(f"watch.precision_recall.classes: expected an integer from 1 up, got {classes}")
    return PrecisionRecall(classes)


@watchers.register("calibration")
def calibration(bins: int = 15) -> Calibration:
    """How often the model is right over how sure it is.

    bins: of equal width, between a confidence of 0 and 1.
    """
    if bins < 2:
        raise ConfigError(f"watch.calibration.bins: expected an integer from 2 up, got {bins}")
    return Calibration(bins)
