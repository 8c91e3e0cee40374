"""Colours of a mask's classes, and masks laid over their images."""

import colorsys
from collections.abc import Sequence

import torch
from torch import Tensor

Colour = tuple[int, int, int]

# Okabe & Ito, for readers who cannot tell red from green; more classes take hues that lie far apart.
_FIRST: tuple[Colour, ...] = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
)  # fmt: skip
_GOLDEN_RATIO = 0.618034
_STRENGTH = 0.6  # of a colour over the image


def class_colours(names: Sequence[str]) -> list[Colour | None]:
    """Return the colour of each class; None for a first class named background, which stays grey."""
    has_background = bool(names) and names[0].lower() == "background"
    colours = [_colour(number) for number in range(len(names) - has_background)]
    return [None, *colours] if has_background else [*colours]


def tinted(image: Tensor, mask: Tensor, colours: Sequence[Colour | None]) -> Tensor:
    """Return the image in grey, with each pixel in the colour of its class; a value without a colour stays grey.

    image: (3, H, W) uint8; mask: (H, W) of whole numbers.
    """
    grey = image.float().mean(0, keepdim=True)  # colours of the image would change those of the classes
    table = torch.tensor([colour or (0, 0, 0) for colour in colours], dtype=torch.float32).view(-1, 3)
    coloured = torch.tensor([colour is not None for colour in colours])
    known = (mask >= 0) & (mask < len(colours))
    place = mask.long().where(known, 0)
    shown = (coloured[place] & known) * _STRENGTH
    mixed = grey * (1 - shown) + table[place].permute(2, 0, 1) * shown
    return mixed.round().to(torch.uint8)


def _colour(number: int) -> Colour:
    if number < len(_FIRST):
        return _FIRST[number]
    red, green, blue = colorsys.hsv_to_rgb(number * _GOLDEN_RATIO % 1, 0.75, 0.9)
    return round(red * 255), round(green * 255), round(blue * 255)
