"""Mixing the images of a batch, on the device: one of the listed ways is drawn for each batch, by its key."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2

from expkit.config.registry import mixings
from expkit.core.errors import ConfigError


@mixings.register("MixUp")
def mix_up(num_classes: int, alpha: float = 0.2) -> v2.MixUp:
    """Blend each image with the one before it, and their labels alike (Zhang et al. 2017, arXiv 1710.09412).

    alpha: the share of one image is drawn from Beta(alpha, alpha); a small one mixes little.
    """
    return v2.MixUp(alpha=_positive(alpha, "MixUp"), num_classes=num_classes)


@mixings.register("CutMix")
def cut_mix(num_classes: int, alpha: float = 1.0) -> v2.CutMix:
    """Paste a part of the image before it into each, labels by area (Yun et al. 2019, arXiv 1905.04899).

    alpha: the share of the area is drawn from Beta(alpha, alpha); 1: all shares alike.
    """
    return v2.CutMix(alpha=_positive(alpha, "CutMix"), num_classes=num_classes)


def _positive(alpha: float, name: str) -> float:
    if alpha <= 0:
        raise ConfigError(f"transforms.batch: {name}'s alpha takes a number above 0, got {alpha}")
    return alpha


class Mixing:
    """One of several ways of mixing, drawn for each batch from torch's default generator."""

    def __init__(self, ways: Sequence[Any]) -> None:
        self.ways = list(ways)

    def __call__(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, H, W) float32 and (N,) int64 -> the mixed images and (N, C) float32 shares of the classes."""
        way = self.ways[int(torch.randint(len(self.ways), ()))]
        mixed, shares = way(images, targets)
        return mixed, shares


def build_mixing(nodes: Sequence[Mapping[str, Any]], num_classes: int, task: str) -> Mixing | None:
    """Build the checked nodes of transforms.batch, None where there are none. Raises ConfigError."""
    if not nodes:
        return None
    if task != "single_label":
        raise ConfigError("transforms.batch: mixing needs one class per sample; use transforms.batch=[] for multilabel")
    ways = [
        mixings.build(node, f"transforms.batch[{place}]", num_classes=num_classes) for place, node in enumerate(nodes)
    ]
    return Mixing(ways)
