"""The metrics of outputs that are images: masks, of (N, C, H, W) logits against (N, H, W) classes; and pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from expkit.tasks.metric import Counts, SampleMean

if TYPE_CHECKING:
    from torch import Tensor

UNKNOWN = 255  # in a mask, as in data.targets, which imports torch


class MeanIoU(Counts):
    """The mean over classes of intersection / union, over all pixels whose class is known (Everingham et al. 2010).

    A class that is neither in the masks nor in the predictions has none.
    """

    name = "miou"

    def __init__(self, num_classes: int) -> None:
        self.shape = (num_classes, num_classes)

    def counted(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return (C, C) pixels, true class by predicted class."""
        size, known = self.shape[0], targets != UNKNOWN
        return (targets[known] * size + outputs.argmax(1)[known]).bincount(minlength=size**2).view(size, size)

    def compute(self) -> float:
        common = self.sums.diagonal()
        union = self.sums.sum(0) + self.sums.sum(1) - common
        return float((common[union > 0].double() / union[union > 0]).mean())


class PixelAccuracy(Counts):
    """The share of the known pixels whose class is right."""

    name, shape = "accuracy", (2,)

    def counted(self, outputs: Tensor, targets: Tensor) -> Tensor:
        import torch

        known = targets != UNKNOWN
        return torch.stack([((outputs.argmax(1) == targets) & known).sum(), known.sum()])

    def compute(self) -> float:
        right, all_of = self.sums.tolist()
        return float(right / max(all_of, 1))


class Psnr(SampleMean):
    """The peak signal-to-noise ratio in dB, 10 log10(1 / mse) of each image, of pixels from 0 to 1; the mean."""

    name = key = "psnr"

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        errors = (outputs.float() - targets.float()).square().flatten(1).mean(1)
        return -10 * errors.clamp_min(1e-10).log10()
