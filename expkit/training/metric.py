"""What a score is: how it is computed of batches, and which way is better. Imports no torch: compare reads it."""

from __future__ import annotations

import re
import warnings
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from expkit.devices import Ranks

_LOWER_IS_BETTER = re.compile(
    r"(.*[_ ./-])?(loss|error|err|mae|mse|rmse|nll|ece|mce|brier|perplexity|hinge|divergence|distance|fpr|fnr"
    r"|seconds|duration)",
    re.IGNORECASE,
)


class Metric(ABC):
    """A score over all samples of an evaluation. name: in `val/NAME`."""

    name: ClassVar[str]
    higher_is_better: ClassVar[bool] = True

    @abstractmethod
    def reset(self, device: torch.device) -> None:
        """Forget all samples."""

    @abstractmethod
    def update(self, loss: Tensor, logits: Tensor, targets: Tensor) -> None:
        """Add a batch; loss: its mean; logits: (N, C). Nothing is read back from the device here."""

    @abstractmethod
    def merge(self, ranks: Ranks) -> None:
        """Make of this rank's samples those of all; each sample has been counted by one of them."""

    @abstractmethod
    def compute(self) -> float:
        """Return the score; waits for the device."""

    def state_dict(self) -> dict[str, Any]:
        """Return what has been added so far."""
        return vars(self).copy()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        vars(self).update(state)


class SampleMean(Metric):
    """A mean over samples. key: of its sum in checkpoints."""

    key: ClassVar[str]
    is_mean: ClassVar[bool] = False  # `value` is the batch's mean, not its sum

    @abstractmethod
    def value(self, loss: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the batch's sum, or its mean where `is_mean`: a scalar on the device."""

    def reset(self, device: torch.device) -> None:
        import torch

        self._total, self._count = torch.zeros((), device=device), 0

    def update(self, loss: Tensor, logits: Tensor, targets: Tensor) -> None:
        count = len(targets)
        self._total.add_(self.value(loss, logits, targets), alpha=count if self.is_mean else 1)
        self._count += count

    def merge(self, ranks: Ranks) -> None:
        import torch

        self._total = ranks.sum(self._total.double())
        self._count = int(ranks.sum(torch.tensor(self._count)))

    def compute(self) -> float:
        return float(self._total) / max(self._count, 1)


class Loss(SampleMean):
    """The mean loss."""

    name, key, higher_is_better, is_mean = "loss", "loss", False, True

    def value(self, loss: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
        return loss


class Accuracy(SampleMean):
    """Accuracy; multilabel: of a sample's C yes/no decisions."""

    name, key = "accuracy", "correct"

    def value(self, loss: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
        if targets.ndim == 1:
            return (logits.argmax(1) == targets).sum()
        return ((logits > 0) == (targets > 0.5)).float().mean(1).sum()


class Top5(SampleMean):
    """The share of samples whose class is among the five highest scores."""

    name = key = "top5"

    def value(self, loss: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
        return top_k_hits(logits, targets, 5).sum()


class MeanAveragePrecision(Metric):
    """Multilabel: the mean of the average precision of the classes that occur; it needs every score."""

    name = "map"

    def reset(self, device: torch.device) -> None:
        self._kept: list[tuple[Tensor, Tensor]] = []

    def update(self, loss: Tensor, logits: Tensor, targets: Tensor) -> None:
        self._kept.append((logits.float().cpu(), targets.cpu()))

    def merge(self, ranks: Ranks) -> None:
        self._kept = [pair for kept in ranks.collect(self._kept) for pair in kept]

    def compute(self) -> float:
        import torch
        from torchmetrics.functional.classification import multilabel_average_precision  # 3 s, and only for this

        logits, targets = (torch.cat(parts) for parts in zip(*self._kept, strict=True))
        present = targets.sum(0) > 0  # a class that never occurs has no precision
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "No positive samples found", UserWarning)  # said once, at the start
            by_class: Any = multilabel_average_precision(
                logits.sigmoid(), targets.long(), targets.shape[1], average="none"
            )
        return float(by_class[present].mean())


METRICS: dict[str, type[Metric]] = {one.name: one for one in (Loss, Accuracy, Top5, MeanAveragePrecision)}


def training_metrics() -> tuple[SampleMean, ...]:
    """Return the metrics of training."""
    return Loss(), Accuracy()


def evaluation_metrics(task: str, num_classes: int) -> list[Metric]:
    """Return the metrics of a task's validation; the first is the main one."""
    if task == "multilabel":
        names = ["map", "accuracy", "loss"]
    else:
        names = ["accuracy", "loss", *(["top5"] if num_classes > 5 else [])]
    return [METRICS[name]() for name in names]


def higher_is_better(name: str) -> bool:
    """Return True for a score of which more is better: `accuracy`, `best val/loss`, `val/calibration_error`.

    The metric of that name says so. A name that no metric here has (an old run's, a plugin's) is guessed from its
    words: lower is better for what ends in loss, error, distance and the like.
    """
    own = name.rpartition("/")[2]
    if metric := METRICS.get(own):
        return metric.higher_is_better
    return _LOWER_IS_BETTER.fullmatch(own) is None


def top_k_hits(scores: Tensor, targets: Tensor, k: int) -> Tensor:
    """Return for each sample whether its class is among the k highest of its scores: (N, C) against (N,) -> (N,)."""
    return (scores.topk(k).indices == targets[:, None]).any(1)


def confusion_counts(scores: Tensor, targets: Tensor) -> Tensor:
    """Return (C, C) int64, true class by predicted class: of (N, C) scores against (N,) classes."""
    size = scores.shape[1]
    cells = targets * size + scores.argmax(1)
    return cells.bincount(minlength=size**2).view(size, size)
