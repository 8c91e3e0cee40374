"""What a metric is: how a score is computed of batches, and which way is better. Imports no torch: compare reads it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from expkit.devices import Ranks


class Metric(ABC):
    """A score over all samples of an evaluation; what outputs and targets are, the task says.

    higher_is_better: None where no direction is better. keys: of the scores, where `compute` returns several.
    """

    name: str
    higher_is_better: bool | None = True
    keys: tuple[str, ...] = ()

    @abstractmethod
    def reset(self, device: torch.device) -> None:
        """Forget all samples."""

    @abstractmethod
    def update(self, outputs: Any, targets: Any, weights: Tensor | None = None) -> None:
        """Add a batch, or a rank's part of it. weights: (N,), None for 1 each. Nothing should wait for the device."""

    @abstractmethod
    def merge(self, ranks: Ranks) -> None:
        """Make of this rank's samples those of all; all ranks have been given the same number of batches."""

    @abstractmethod
    def compute(self) -> float | Mapping[str, float]:
        """Return the score, or several by name; waits for the device."""

    @property
    def directions(self) -> dict[str, bool | None]:
        """Of each score by its name, whether higher is better."""
        return {f"{self.name}_{key}": self.higher_is_better for key in self.keys} or {self.name: self.higher_is_better}

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
    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return (N,): of each sample."""

    def value(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the batch's sum, or its mean where `is_mean`: a scalar on the device."""
        each = self.each(outputs, targets)
        return each.sum() if weights is None else (each * weights).sum()

    def score(self, outputs: Tensor, targets: Tensor) -> float:
        """Return the score of samples that are all at hand."""
        return float(self.each(outputs, targets).float().mean())

    def reset(self, device: torch.device) -> None:
        import torch

        self._total = torch.zeros((), device=device)
        self._count: Any = 0  # a tensor where samples have weights

    def update(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> None:
        value = self.value(outputs, targets, weights)
        if weights is None:
            self._total.add_(value, alpha=len(targets) if self.is_mean else 1)
            self._count += len(targets)
        else:
            self._total += value * weights.sum() if self.is_mean else value
            self._count = self._count + weights.sum()

    def merge(self, ranks: Ranks) -> None:
        import torch

        self._total = ranks.sum(self._total.double())
        self._count = ranks.sum(torch.as_tensor(self._count, dtype=torch.float64))

    def compute(self) -> float:
        return float(self._total) / max(float(self._count), 1)


class Loss(SampleMean):
    """The mean loss; its outputs are a batch's mean, and its targets tell the size."""

    name, key, higher_is_better, is_mean = "loss", "loss", False, True

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs

    def value(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        return outputs


class KeptSamples(Metric):
    """A score that needs every sample; batches stay in order, so that it is the same for any number of ranks."""

    @abstractmethod
    def score(self, outputs: Tensor, targets: Tensor) -> float:
        """Return the score of samples that are all at hand."""

    def reset(self, device: torch.device) -> None:
        self._kept: list[tuple[Tensor, Tensor]] = []

    def update(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> None:
        if weights is not None:
            outputs, targets = outputs[weights > 0], targets[weights > 0]
        self._kept.append((outputs.float().cpu(), targets.cpu()))

    def merge(self, ranks: Ranks) -> None:
        """Each batch of the ranks' lists is followed by the next: a batch's parts lie in rank order."""
        self._kept = [part for batch in zip(*ranks.collect(self._kept), strict=True) for part in batch]

    def compute(self) -> float:
        import torch

        outputs, targets = (torch.cat(parts) for parts in zip(*self._kept, strict=True))
        return self.score(outputs, targets)


class Counts(Metric):
    """A score of sums that have a fixed size, however many samples there are. shape: of the sums."""

    shape: tuple[int, ...]
    is_whole: ClassVar[bool] = True  # the sums are whole numbers

    @abstractmethod
    def counted(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return what a batch adds to the sums."""

    def reset(self, device: torch.device) -> None:
        import torch

        self.sums = torch.zeros(self.shape, dtype=torch.int64 if self.is_whole else torch.float64)

    def update(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> None:
        if weights is not None:
            outputs, targets = outputs[weights > 0], targets[weights > 0]
        self.sums += self.counted(outputs, targets).cpu()

    def merge(self, ranks: Ranks) -> None:
        self.sums = ranks.sum(self.sums)


def named_scores(metric: Metric) -> dict[str, float]:
    """Return what a metric computes by the names of scores: several are named after the metric and each of them."""
    found = metric.compute()
    if isinstance(found, Mapping):
        return {f"{metric.name}_{key}": value for key, value in found.items()}
    return {metric.name: found}
