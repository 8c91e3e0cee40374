"""The metrics of regression: of (N, K) standardised numbers against the true ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from expkit.tasks.metric import Counts

if TYPE_CHECKING:
    from torch import Tensor


class _ByNumber(Counts):
    """A score of each of K numbers, or their mean. names: of the numbers, () for the mean."""

    is_whole = False

    def __init__(self, count: int, names: Sequence[str] = ()) -> None:
        self.names, self.shape = tuple(names), (4, count)

    def counted(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return (4, K) sums: of the samples, of the true numbers, their squares, and what `error` returns."""
        import torch

        outputs, targets = outputs.double(), targets.double()
        return torch.stack(
            [torch.ones_like(targets).sum(0), targets.sum(0), (targets**2).sum(0), self.error(outputs - targets).sum(0)]
        )

    def error(self, difference: Tensor) -> Tensor:
        raise NotImplementedError

    def scores(self) -> list[float]:
        raise NotImplementedError

    def compute(self) -> float | Mapping[str, float]:
        scores = self.scores()
        return dict(zip(self.names, scores, strict=True)) if self.names else sum(scores) / len(scores)


class R2(_ByNumber):
    """The coefficient of determination: 1 - (sum of squared errors) / (sum of squares about the mean).

    NaN for a number that is the same in all samples.
    """

    name = "r2"

    def error(self, difference: Tensor) -> Tensor:
        return difference**2

    def scores(self) -> list[float]:
        count, total, squares, errors = self.sums
        about_mean = squares - total**2 / count.clamp_min(1)
        found: list[float] = (1 - errors / about_mean).where(about_mean > 0, math.nan).tolist()
        return found


class MeanAbsoluteError(_ByNumber):
    """The mean absolute error, in each number's own unit. std: by which the numbers were divided."""

    name, higher_is_better = "mae", False

    def __init__(self, std: Sequence[float], names: Sequence[str] = ()) -> None:
        super().__init__(len(std), names)
        self.std = tuple(std)

    def error(self, difference: Tensor) -> Tensor:
        return difference.abs()

    def scores(self) -> list[float]:
        count, _, _, errors = self.sums.tolist()
        return [error * std / max(size, 1) for error, std, size in zip(errors, self.std, count, strict=True)]
