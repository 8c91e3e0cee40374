"""The metrics of classification that count as they go: of (N, C) probabilities. Watchers draw the counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expkit.tasks.class_metrics import confusion_counts, decisions, mean_of_known
from expkit.tasks.metric import Counts

if TYPE_CHECKING:
    from torch import Tensor

_FINE_BINS = 1000  # of confidence


class ConfusionCounts(Counts):
    """Accuracy by counts of decisions: `sums` (C, C), true class by predicted class."""

    name = "accuracy"

    def __init__(self, classes: int) -> None:
        self.shape = (classes, classes)

    def counted(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return confusion_counts(outputs, targets)

    def compute(self) -> float:
        return float(self.sums.trace()) / max(float(self.sums.sum()), 1)


class BinnedPrecision(Counts):
    """Average precision to a bin of confidence: `sums` (2, C, bins), of samples without and with the class."""

    name = "average_precision"

    def __init__(self, classes: int) -> None:
        self.shape = (2, classes, _FINE_BINS)

    def counted(self, outputs: Tensor, targets: Tensor) -> Tensor:
        import torch

        there = decisions(outputs, targets)[1]
        places = (outputs * _FINE_BINS).long().clamp(0, _FINE_BINS - 1)
        places += torch.arange(places.shape[1], device=places.device) * _FINE_BINS
        size = places.shape[1] * _FINE_BINS
        sides = [places[chosen].bincount(minlength=size) for chosen in (~there, there)]
        return torch.stack(sides).view(self.shape)

    def curves(self) -> tuple[Any, Any, Any]:
        """Return precision (C, bins), recall (C, bins) from the highest threshold down, and average precision (C,)."""
        import numpy as np

        false, hits = (np.cumsum(counts[:, ::-1], axis=1) for counts in self.sums.numpy())
        precision = np.divide(hits, hits + false, out=np.ones(hits.shape), where=hits + false > 0)
        recall = hits / np.maximum(hits[:, -1:], 1)
        return precision, recall, (np.diff(recall, axis=1, prepend=0.0) * precision).sum(axis=1)

    def compute(self) -> float:
        occurs = self.sums[1].sum(1).numpy() > 0
        return mean_of_known([float(one) for one in self.curves()[2][occurs]])


class DecisionCounts(Counts):
    """F1 by counts of decisions: `sums` (3, C), of what is said, what is there, and both."""

    name = "f1_macro"

    def __init__(self, classes: int) -> None:
        self.shape = (3, classes)

    def counted(self, outputs: Tensor, targets: Tensor) -> Tensor:
        import torch

        said, there = decisions(outputs, targets)
        return torch.stack([said.sum(0), there.sum(0), (said & there).sum(0)])

    def by_class(self) -> tuple[Any, Any, Any]:
        """Return precision, recall and F1, each (C,)."""
        import numpy as np

        said, there, both = self.sums.numpy()
        precision, recall = both / np.maximum(said, 1), both / np.maximum(there, 1)
        return precision, recall, 2 * precision * recall / np.maximum(precision + recall, 1e-12)

    def compute(self) -> float:
        return float(self.by_class()[2].mean())


class BinnedCalibration(Counts):
    """The expected calibration error: `sums` (3, bins), of samples, confidence, and right decisions."""

    name, higher_is_better, is_whole = "calibration_error", False, False

    def __init__(self, bins: int) -> None:
        self.bins, self.shape = bins, (3, bins)

    def counted(self, outputs: Tensor, targets: Tensor) -> Tensor:
        import torch

        if targets.ndim == 1:
            sure, said = outputs.max(1)
            right = said == targets
        else:
            sure, right = outputs.flatten(), (targets > 0.5).flatten()
        sure, right = sure.double().cpu(), right.double().cpu()
        places = (sure * self.bins).long().clamp(0, self.bins - 1)
        weights = (torch.ones_like(sure), sure, right)
        return torch.stack([torch.bincount(places, weight, self.bins) for weight in weights])

    def compute(self) -> float:
        count, sure, right = self.sums
        return float((sure - right).abs().sum() / count.sum().clamp(min=1))
