"""Faster versions of the most common random transforms: the same draws and bit-identical pixels."""

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

Transform = Callable[[Tensor], Tensor]

_FLIPS = {v2.RandomHorizontalFlip: -1, v2.RandomVerticalFlip: -2}


def with_fast_steps(steps: Sequence[Transform]) -> tuple[Transform, ...]:
    """Return the steps with RandomResizedCrop and flips (not their subclasses) replaced by faster versions."""
    return tuple(_fast_step(step, steps[place + 1 :]) for place, step in enumerate(steps))


def _fast_step(step: Transform, later: Sequence[Transform]) -> Transform:
    if type(step) is v2.RandomResizedCrop:
        # Flips do not depend on the layout; floating-point steps may round differently in another memory order.
        return functools.partial(_resized_crop, step, all(type(other) in _FLIPS for other in later))
    if isinstance(step, v2.RandomHorizontalFlip | v2.RandomVerticalFlip) and type(step) in _FLIPS:
        return functools.partial(_flipped, step.p, _FLIPS[type(step)])
    return step


def _resized_crop(crop: v2.RandomResizedCrop, any_layout: bool, image: Tensor) -> Tensor:
    """Crop and resize (3, H, W) as channels-last, which torch resizes without repacking."""
    box = crop.make_params([image])
    top, left = box["top"], box["left"]
    part = image[:, top : top + box["height"], left : left + box["width"]]
    interleaved = part.movedim(0, -1).contiguous().movedim(-1, 0)
    resized: Tensor = functional.resize_image(
        interleaved, crop.size, interpolation=crop.interpolation, antialias=crop.antialias
    )
    return resized if any_layout else resized.contiguous()


def _flipped(probability: float, axis: int, image: Tensor) -> Tensor:
    return image if torch.rand(1) >= probability else image.flip(axis)
