"""The commonest random transforms with less around them: the same draws and, to the last bit, the same pixels."""

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

Transform = Callable[[Tensor], Tensor]

_FLIPS = {v2.RandomHorizontalFlip: -1, v2.RandomVerticalFlip: -2}


def quick(steps: Sequence[Transform]) -> tuple[Transform, ...]:
    """Return the steps, RandomResizedCrop and flips (not what derives from them) replaced by quicker ones."""
    return tuple(_quick(step, steps[place + 1 :]) for place, step in enumerate(steps))


def _quick(step: Transform, later: Sequence[Transform]) -> Transform:
    if type(step) is v2.RandomResizedCrop:
        # Flips are the same for any layout; what computes in floating point may round by the order in memory.
        return functools.partial(_resized_crop, step, all(type(one) in _FLIPS for one in later))
    if isinstance(step, v2.RandomHorizontalFlip | v2.RandomVerticalFlip) and type(step) in _FLIPS:
        return functools.partial(_flipped, step.p, _FLIPS[type(step)])
    return step


def _resized_crop(crop: v2.RandomResizedCrop, any_layout: bool, image: Tensor) -> Tensor:
    """Crop and resize (3, H, W): torch resizes channels that lie together without repacking them, there and back."""
    box = crop.make_params([image])
    top, left = box["top"], box["left"]
    part = image[:, top : top + box["height"], left : left + box["width"]]
    together = part.movedim(0, -1).contiguous().movedim(-1, 0)
    resized: Tensor = functional.resize_image(
        together, crop.size, interpolation=crop.interpolation, antialias=crop.antialias
    )
    return resized if any_layout else resized.contiguous()


def _flipped(probability: float, axis: int, image: Tensor) -> Tensor:
    return image if torch.rand(1) >= probability else image.flip(axis)
