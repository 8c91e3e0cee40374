"""Sums that stay on the device and are read once per interval."""

from typing import Any

import torch
from torch import Tensor

Scores = dict[str, float]


def metric_names(task: str, num_classes: int) -> dict[str, bool]:
    """Return the validation scores of a task, with whether higher is better; the first is the main one."""
    if task == "multilabel":
        return {"map": True, "accuracy": True, "loss": False}
    return {"accuracy": True, "loss": False} | ({"top5": True} if num_classes > 5 else {})


def count_correct(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the number of right decisions: (N, C) logits against (N,) classes, or against (N, C) of 0 and 1.

    Multilabel: the share of a sample's C yes/no decisions that are right, summed over the samples.
    """
    if targets.ndim == 1:
        return (logits.argmax(1) == targets).sum()
    return ((logits > 0) == (targets > 0.5)).float().mean(1).sum()


class TrainMetrics:
    """Loss and accuracy of training: per interval, and over the epoch, weighted by samples."""

    def __init__(self, device: torch.device) -> None:
        self._loss = torch.zeros((), device=device)
        self._correct = torch.zeros((), device=device)
        self._count = 0
        self.start_epoch()

    def start_epoch(self) -> None:
        self._epoch_loss = self._epoch_correct = 0.0
        self._epoch_count = 0

    def update(self, loss: Tensor, logits: Tensor, targets: Tensor) -> None:
        """Add a batch; loss: its mean, detached. Nothing is read back here."""
        count = len(targets)
        self._loss.add_(loss, alpha=count)
        self._correct.add_(count_correct(logits, targets))
        self._count += count

    def interval(self) -> Scores:
        """Return the means since the last call; the only place that waits for the device."""
        loss, correct, count = float(self._loss), float(self._correct), self._count
        self._loss.zero_()
        self._correct.zero_()
        self._count = 0
        self._epoch_loss += loss
        self._epoch_correct += correct
        self._epoch_count += count
        return {"loss": loss / max(count, 1), "accuracy": correct / max(count, 1)}

    @property
    def count(self) -> int:
        """Samples since the last `interval`."""
        return self._count

    def epoch(self) -> Scores:
        """Return the means over the epoch so far, as far as `interval` has read them."""
        count = max(self._epoch_count, 1)
        return {"loss": self._epoch_loss / count, "accuracy": self._epoch_correct / count}

    @property
    def epoch_count(self) -> int:
        """Samples of the epoch so far."""
        return self._epoch_count + self._count


class EvalMetrics:
    """Exact scores over all samples of an evaluation.

    single label: loss, accuracy, top5 where there are more than 5 classes; `confusion` is (C, C) int64, true class by
    predicted class. multilabel: loss, accuracy of the yes/no decisions, map (mean average precision over classes).
    """

    def __init__(self, task: str, num_classes: int, device: torch.device) -> None:
        self.task, self.num_classes, self.device = task, num_classes, device
        self.reset()

    def reset(self) -> None:
        self._loss = torch.zeros((), device=self.device)
        self._correct = torch.zeros((), device=self.device)
        self._top5 = torch.zeros((), device=self.device)
        self._confusion = torch.zeros(self.num_classes**2, dtype=torch.int64, device=self.device)
        self._kept: list[tuple[Tensor, Tensor]] = []  # multilabel: average precision needs every score
        self._count = 0

    def update(self, loss: Tensor, logits: Tensor, targets: Tensor) -> None:
        """Add a batch; loss: its mean; logits: (N, C)."""
        count = len(targets)
        self._loss.add_(loss, alpha=count)
        self._correct.add_(count_correct(logits, targets))
        self._count += count
        if self.task == "multilabel":
            self._kept.append((logits.float().cpu(), targets.cpu()))
            return
        cells = targets * self.num_classes + logits.argmax(1)
        self._confusion += torch.bincount(cells, minlength=self.num_classes**2)
        if self.num_classes > 5:
            self._top5.add_((logits.topk(5).indices == targets[:, None]).any(1).sum())

    @property
    def confusion(self) -> list[list[int]]:
        """(C, C): how often a sample of the row's class was taken for the column's."""
        return self._confusion.view(self.num_classes, self.num_classes).tolist()

    def compute(self) -> Scores:
        """Return the scores; the only place that waits for the device."""
        count = max(self._count, 1)
        scores = {"loss": float(self._loss) / count, "accuracy": float(self._correct) / count}
        if self.task == "multilabel":
            scores["map"] = _mean_average_precision(self._kept, self.num_classes)
        elif self.num_classes > 5:
            scores["top5"] = float(self._top5) / count
        return scores


def _mean_average_precision(kept: list[tuple[Tensor, Tensor]], num_classes: int) -> float:
    from torchmetrics.functional.classification import multilabel_average_precision  # 3 s, and only for this

    logits, targets = (torch.cat(parts) for parts in zip(*kept, strict=True))
    present = targets.sum(0) > 0  # a class that never occurs has no precision
    by_class: Any = multilabel_average_precision(logits.sigmoid(), targets.long(), num_classes, average="none")
    return float(by_class[present].mean())
