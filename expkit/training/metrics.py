"""Sums that stay on the device and are read once per interval."""

import math
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from expkit.devices import Ranks

Scores = dict[str, float]
TRAINING_SCORES = {"loss": False, "accuracy": True}  # with whether higher is better


def metric_names(task: str, num_classes: int) -> dict[str, bool]:
    """Return the validation scores of a task, with whether higher is better; the first is the main one."""
    if task == "multilabel":
        return {"map": True, "accuracy": True, "loss": False}
    return {"accuracy": True, "loss": False} | ({"top5": True} if num_classes > 5 else {})


def main_logits(outputs: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Return the (N, C) logits of the main head; models with auxiliary heads give a tuple in training."""
    return outputs if isinstance(outputs, Tensor) else outputs[0]


def count_correct(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the number of right decisions: (N, C) logits against (N,) classes, or against (N, C) of 0 and 1.

    Multilabel: the share of a sample's C yes/no decisions that are right, summed over the samples.
    """
    if targets.ndim == 1:
        return (logits.argmax(1) == targets).sum()
    return ((logits > 0) == (targets > 0.5)).float().mean(1).sum()


class BadBatch(NamedTuple):
    """A batch whose loss, or an update whose gradient norm, is no finite number; batch: its number in the epoch."""

    batch: int
    what: str  # "loss" or "gradient norm"
    value: float


class TrainMetrics:
    """Loss and accuracy of training: per interval, and over the epoch, weighted by samples.

    Values stay on the device until `read` fetches those of many batches at once. They are added one by one in the order
    of the batches, so that it does not show in the sums when they were read. What is not finite is left out.

    Among ranks each adds its part's share of a batch's loss, and `read` adds up the parts: all ranks get one answer, so
    that all must ask.
    """

    _most = 1000  # batches kept on the device before they are read all the same

    def __init__(self, ranks: Ranks | None = None) -> None:
        self._ranks = ranks
        self._losses: list[Tensor] = []  # of each batch, scalars of one type
        self._right: list[Tensor] = []  # how many decisions of each batch are
        self._norms: list[tuple[int, Tensor]] = []
        self._batches: list[tuple[int, int]] = []  # number, samples
        self._bad: list[BadBatch] = []
        self._interval = _Sums()
        self.start_epoch()

    def start_epoch(self) -> None:
        self._epoch = _Sums()

    def update(self, batch: int, loss: Tensor, logits: Tensor, targets: Tensor) -> None:
        """Add batch number `batch` of the epoch; loss: its mean, detached. Nothing is read back here."""
        self._losses.append(loss)
        self._right.append(count_correct(logits, targets))
        self._batches.append((batch, len(targets)))
        if len(self._batches) >= self._most:
            self._fetch()

    def norm(self, batch: int, norm: Tensor) -> None:
        """Add the gradients' norm of the update that ended with batch number `batch`."""
        self._norms.append((batch, norm))

    def read(self) -> list[BadBatch]:
        """Fetch what is still on the device; returns the batches since the last `read` that were not finite.

        The first one is to blame: those after it may have been computed with weights that are no numbers any more.
        """
        self._fetch()
        bad, self._bad = sorted(self._bad, key=lambda one: one.batch), []
        return bad

    def _fetch(self) -> None:
        """Wait for the device: the only place that does."""
        if not self._losses:
            return
        if self._ranks:
            self._add_parts(self._ranks)
        kinds = [self._losses, self._right, [norm for _, norm in self._norms]]
        values = torch.cat([torch.stack(kind).float() for kind in kinds if kind]).tolist()
        batches = len(self._batches)
        for (batch, count), loss, correct in zip(self._batches, values, values[batches:], strict=False):
            if not count:
                continue
            if math.isfinite(loss):
                self._interval.add(loss, correct, count)
                self._epoch.add(loss, correct, count)
            else:
                self._bad.append(BadBatch(batch, "loss", loss))
        for (batch, _), norm in zip(self._norms, values[2 * batches :], strict=True):
            if not math.isfinite(norm):
                self._bad.append(BadBatch(batch, "gradient norm", norm))
        self._losses, self._right, self._norms, self._batches = [], [], [], []

    def _add_parts(self, ranks: Ranks) -> None:
        """Make of this rank's values those of the whole batches."""
        counts = torch.tensor([count for _, count in self._batches], dtype=torch.float64)
        own = [torch.stack(kind).cpu().double() for kind in (self._losses, self._right)]
        whole = ranks.sum(torch.stack([*own, counts], dim=1))
        self._losses, self._right = list(whole[:, 0]), list(whole[:, 1])
        self._batches = [(batch, int(count)) for (batch, _), count in zip(self._batches, whole[:, 2], strict=True)]

    def interval(self) -> Scores:
        """Return the means since the last call."""
        self._fetch()
        means, self._interval = self._interval.means(), _Sums()
        return means

    @property
    def count(self) -> int:
        """Samples since the last `interval`."""
        return self._interval.count + sum(count for _, count in self._batches)

    def epoch(self) -> Scores:
        """Return the means over the epoch so far."""
        self._fetch()
        return self._epoch.means()

    @property
    def epoch_count(self) -> int:
        """Samples of the epoch so far."""
        return self._epoch.count + sum(count for _, count in self._batches)

    def state_dict(self) -> dict[str, Any]:
        self._fetch()
        return {"interval": vars(self._interval).copy(), "epoch": vars(self._epoch).copy()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._losses, self._right, self._norms, self._batches, self._bad = [], [], [], [], []
        self._interval, self._epoch = _Sums(**state["interval"]), _Sums(**state["epoch"])


@dataclass
class _Sums:
    loss: float = 0.0
    correct: float = 0.0
    count: int = 0

    def add(self, loss: float, correct: float, count: int) -> None:
        """Add a batch; loss: its mean."""
        self.loss += loss * count
        self.correct += correct
        self.count += count

    def means(self) -> Scores:
        if not self.count:
            return {"loss": math.nan, "accuracy": math.nan}
        return {"loss": self.loss / self.count, "accuracy": self.correct / self.count}


class EvalMetrics:
    """Exact scores over all samples of an evaluation.

    single label: loss, accuracy, top5 where there are more than 5 classes; `confusion` is (C, C) int64, true class by
    predicted class. multilabel: loss, accuracy of the yes/no decisions, map (mean average precision over classes).
    """

    def __init__(self, task: str, num_classes: int, device: torch.device, ranks: Ranks | None = None) -> None:
        self._ranks = ranks
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
        """Return the scores; the only place that waits for the device, and for other ranks."""
        if self._ranks:
            self._add_parts(self._ranks)
        count = max(self._count, 1)
        scores = {"loss": float(self._loss) / count, "accuracy": float(self._correct) / count}
        if self.task == "multilabel":
            scores["map"] = _mean_average_precision(self._kept, self.num_classes)
        elif self.num_classes > 5:
            scores["top5"] = float(self._top5) / count
        return scores

    def _add_parts(self, ranks: Ranks) -> None:
        """Make of this rank's sums those of all; each sample has been counted by one of them."""
        sums = torch.stack([self._loss, self._correct, self._top5]).double()
        self._loss, self._correct, self._top5 = ranks.sum(sums)
        self._confusion = ranks.sum(self._confusion)
        self._count = int(ranks.sum(torch.tensor(self._count)))
        if self.task == "multilabel":
            self._kept = [pair for kept in ranks.collect(self._kept) for pair in kept]


def _mean_average_precision(kept: list[tuple[Tensor, Tensor]], num_classes: int) -> float:
    from torchmetrics.functional.classification import multilabel_average_precision  # 3 s, and only for this

    logits, targets = (torch.cat(parts) for parts in zip(*kept, strict=True))
    present = targets.sum(0) > 0  # a class that never occurs has no precision
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No positive samples found", UserWarning)  # said once, at the start
        by_class: Any = multilabel_average_precision(logits.sigmoid(), targets.long(), num_classes, average="none")
    return float(by_class[present].mean())
