"""A limit on the size of transformed images: 1×30000 pixels, resized to 256, would be two billion pixels."""

import math
from collections.abc import Sequence
from typing import Any

from torchvision.transforms import v2

MOST_PIXELS = 89_478_485  # the same limit as for decoded images: Pillow's own


_TO_A_SIZE = (v2.CenterCrop, v2.RandomResizedCrop)
_BY_SHORTER_SIDE = (v2.RandomResize, v2.RandomShortestSize)
_GROWING = (v2.Resize, *_BY_SHORTER_SIDE, v2.RandomRotation, v2.RandomZoomOut, v2.Pad, v2.RandomCrop, *_TO_A_SIZE)


class Unfit(Exception):
    """An image that a transform cannot be applied to; the message says why."""


def limit_growth(step: Any) -> None:
    """Make a step, and each step within it, raise Unfit for an image that would become too large or too small."""
    for inner in getattr(step, "transforms", ()):
        limit_growth(inner)
    if isinstance(step, _GROWING):
        step.register_forward_pre_hook(_check_size)


def _check_size(step: Any, images: tuple[Any, ...]) -> None:
    _refuse(step, *images[0].shape[-2:])


def _refuse(step: Any, height: int, width: int) -> None:
    new_height, new_width = _output_size(step, height, width)
    if new_height < 1 or new_width < 1 or new_height * new_width > MOST_PIXELS:
        limit = f"more than {MOST_PIXELS:,} pixels" if new_height and new_width else "which is no image"
        made = f"{type(step).__name__} would make {new_width:,}×{new_height:,} of it"
        raise Unfit(f"is an image of {width:,}×{height:,} pixels, and {made}, {limit}; crop it or leave it out")


def _output_size(step: Any, height: int, width: int) -> tuple[int, int]:
    """Return the (height, width) of a step's output; the largest, if it is random."""
    if isinstance(step, v2.Resize):
        return _resized(step, height, width)
    if isinstance(step, _BY_SHORTER_SIDE):
        return _largest_drawn(step, height, width)
    if isinstance(step, v2.RandomZoomOut):
        return int(height * step.side_range[1]), int(width * step.side_range[1])
    if isinstance(step, _TO_A_SIZE):
        return int(step.size[0]), int(step.size[1])
    if isinstance(step, v2.Pad | v2.RandomCrop):
        padding = step.padding or 0
        most = 2 * max(padding if isinstance(padding, Sequence) else [padding])
        size = step.size if isinstance(step, v2.RandomCrop) and step.pad_if_needed else (0, 0)
        return max(height + most, size[0]), max(width + most, size[1])
    diagonal = math.ceil(math.hypot(height, width)) if step.expand else 0
    return max(diagonal, height), max(diagonal, width)


def _largest_drawn(step: Any, height: int, width: int) -> tuple[int, int]:
    """Return the largest size of a step that draws the length of the shorter side."""
    if isinstance(step, v2.RandomResize):
        return _resized(v2.Resize(step.max_size), height, width)
    return _resized(v2.Resize(max(step.min_size), max_size=step.max_size), height, width)


def _resized(step: v2.Resize, height: int, width: int) -> tuple[int, int]:
    """Return the output size of torchvision's Resize: its `size` is (height, width) or the shorter side."""
    if step.size is not None and len(step.size) == 2:
        return int(step.size[0]), int(step.size[1])
    short, long = sorted((height, width))
    if step.size is None:
        short, long = int(step.max_size * short / long), step.max_size
    else:
        short, long = step.size[0], int(step.size[0] * long / short)
        if step.max_size is not None and long > step.max_size:
            short, long = int(step.max_size * short / long), step.max_size
    return (long, short) if height > width else (short, long)


def reason_against(steps: Sequence[Any], height: int, width: int) -> str:
    """Return why the steps cannot be applied to an image of this size, or "" if no reason is known."""
    for step in steps:
        try:
            if isinstance(step, _GROWING):
                _refuse(step, height, width)
        except Unfit as error:
            return str(error)
        if isinstance(step, v2.CenterCrop | v2.RandomCrop | v2.RandomResizedCrop):
            height, width = step.size
        elif isinstance(step, v2.Resize):
            height, width = _resized(step, height, width)
        elif isinstance(step, v2.RandomRotation | v2.RandomZoomOut) or hasattr(step, "transforms"):
            return ""  # the size is random
    return ""
