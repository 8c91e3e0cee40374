"""MixUp and CutMix, applied to a batch on the device: one of the listed methods is drawn for each batch."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2

from expkit.config.registry import mixings
from expkit.core.errors import ConfigError


@mixings.register("MixUp")
def mix_up(num_classes: int, alpha: float = 0.2) -> v2.MixUp:
    """Blend each image and its label with the previous one (Zhang et al. 2017, arXiv 1710.09412).

    alpha: the weight of one image is drawn from Beta(alpha, alpha); a small alpha mixes little.
    """
    return v2.MixUp(alpha=_positive(alpha, "MixUp"), num_classes=num_classes)


@mixings.register("CutMix")
def cut_mix(num_classes: int, alpha: float = 1.0) -> v2.CutMix:
    """Paste a part of the previous image into each, labels by area (Yun et al. 2019, arXiv 1905.04899).

    alpha: the fraction of the area is drawn from Beta(alpha, alpha); 1: uniformly.
    """
    return v2.CutMix(alpha=_positive(alpha, "CutMix"), num_classes=num_classes)


def _positive(alpha: float, name: str) -> float:
    if alpha <= 0:
        raise ConfigError(f"transforms.batch: {name}'s alpha takes a number above 0, got {alpha}")
    return alpha


class Mixing:
    """Applies one of several mixing methods, drawn for each batch from torch's default generator."""

    def __init__(self, methods: Sequence[Any]) -> None:
        self.methods = list(methods)

    def __call__(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Mix (N, 3, H, W) float32 and (N,) int64; return the images and (N, C) float32 class probabilities."""
        method = self.methods[int(torch.randint(len(self.methods), ()))]
        mixed, probabilities = method(images, targets)
        return mixed, probabilities


def build_mixing(nodes: Sequence[Mapping[str, Any]], num_classes: int, task: str) -> Mixing | None:
    """Build the checked nodes of transforms.batch; None if there are none. Raises ConfigError."""
    if not nodes:
        return None
    if task != "single_label":
        raise ConfigError("transforms.batch: mixing needs one class per sample; use transforms.batch=[] for multilabel")
    methods = [
        mixings.build(node, f"transforms.batch[{place}]", num_classes=num_classes) for place, node in enumerate(nodes)
    ]
    return Mixing(methods)
