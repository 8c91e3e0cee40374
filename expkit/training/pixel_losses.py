"""Losses of segmentation: on logits (N, C, H, W) and the class of each pixel, (N, H, W); 255 counts for nothing."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from expkit.config.registry import losses
from expkit.core.errors import ConfigError
from expkit.data.targets import UNKNOWN


class PixelCrossEntropy(nn.CrossEntropyLoss):
    """The mean cross entropy over the pixels whose class is known; 0 where none is."""

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        total = functional.cross_entropy(
            logits, targets, self.weight, ignore_index=UNKNOWN, label_smoothing=self.label_smoothing, reduction="sum"
        )
        return total / self.weight_of(targets).clamp_min(1e-12)

    def weight_of(self, targets: Tensor) -> Tensor:
        """Return what the targets count for in a mean: the number of known pixels, or their class weights."""
        known = targets != UNKNOWN
        if self.weight is None:
            return known.sum().float()
        return (self.weight[targets.where(known, 0)] * known).sum()


@losses.register("dice")
def dice(task: str, smooth: float = 1.0, cross_entropy: float = 1.0) -> nn.Module:
    """Soft Dice loss of masks (Milletari et al. 2016, arXiv 1606.04797), the mean over classes and images.

    smooth: is added to both sides of the fraction, in pixels. cross_entropy: weight of the pixels' cross entropy, which
    is added; 0 for Dice alone.
    """
    if task != "segmentation":
        raise ConfigError("loss.name: dice is for masks; use loss=cross_entropy here")
    if smooth <= 0 or cross_entropy < 0:
        raise ConfigError(
            f"loss.smooth: takes a number above 0, and cross_entropy one from 0 up; got {smooth}, {cross_entropy}"
        )
    return Dice(smooth, cross_entropy)


class Dice(nn.Module):
    """1 - 2 |P T| / (|P| + |T|) of each class and image, on the softmax, plus a share of cross entropy."""

    def __init__(self, smooth: float, cross_entropy: float) -> None:
        super().__init__()
        self.smooth, self.share = smooth, cross_entropy

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """logits: (N, C, H, W); targets: (N, H, W)."""
        known = (targets != UNKNOWN)[:, None]
        wanted = functional.one_hot(targets.where(known[:, 0], 0), logits.shape[1]).movedim(-1, 1) * known
        given = logits.softmax(1) * known
        common = (given * wanted).sum((2, 3))
        score = (2 * common + self.smooth) / (given.sum((2, 3)) + wanted.sum((2, 3)) + self.smooth)
        loss = 1 - score.mean()
        return loss + self.share * self._cross_entropy_of_images(logits, targets) if self.share else loss

    def _cross_entropy_of_images(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over images, as Dice is one: so that the parts of a batch add up."""
        losses_of = functional.cross_entropy(logits, targets, ignore_index=UNKNOWN, reduction="none").sum((1, 2))
        return torch.mean(losses_of / (targets != UNKNOWN).sum((1, 2)).clamp_min(1))
