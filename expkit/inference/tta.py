"""Test-time augmentation: average a model's probabilities over mirrored or shifted views of each image."""

from collections.abc import Callable
from typing import Literal

from torch import Tensor

Views = Literal["none", "flip", "five_crop"]

FIVE_CROP_SHARE = 0.875  # of each side, as in Krizhevsky et al. 2012, section 4.1: 224 of 256 pixels


def views_of(images: Tensor, views: Views) -> list[Tensor]:
    """Return the views of a batch (N, 3, H, W), each of the same shape.

    flip: the image and its mirror image. five_crop: the corners and the centre, each with its mirror image, ten in
    all (Krizhevsky et al. 2012), scaled back to the input size.
    """
    if views == "none":
        return [images]
    shown = [images] if views == "flip" else _crops(images)
    return [view for one in shown for view in (one, one.flip(-1))]


def _crops(images: Tensor) -> list[Tensor]:
    from torchvision.transforms.v2 import functional

    height, width = images.shape[-2:]
    inner = [round(height * FIVE_CROP_SHARE), round(width * FIVE_CROP_SHARE)]
    return [functional.resize(crop, [height, width]) for crop in functional.five_crop(images, inner)]


def averaged(predict: Callable[[Tensor], Tensor], images: Tensor, views: Views) -> Tensor:
    """Return the mean of predict's probabilities (N, C) over the views."""
    seen = views_of(images, views)
    total = predict(seen[0])
    for view in seen[1:]:
        total = total + predict(view)
    return total / len(seen) if len(seen) > 1 else total
