"""A confusion matrix as pixels: cells show counts, shaded by their share of the row."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from expkit.core.plots.image_grid import BACKGROUND, FAINT, INK, Font, font_of, shorten

CELL, SMALL_CELL = 56, 8  # pixels; large matrices show only the shades
MOST_WITH_NUMBERS = 24  # classes
_LABEL, _MARGIN, _TITLE = 130, 16, 28
_STRONG = np.array([0x1F, 0x5F, 0xA8])


def shade(share: float) -> tuple[int, int, int]:
    """Return the colour of a share, 0..1: from white to a strong blue, rising quickly at first."""
    red, green, blue = (255 + (_STRONG - 255) * min(max(share, 0.0), 1.0) ** 0.7).round().astype(int).tolist()
    return red, green, blue


def draw_matrix(counts: NDArray[np.int64], names: Sequence[str], title: str) -> Image.Image:
    """Draw a confusion matrix. counts: (C, C), true class by predicted class."""
    with_numbers = len(names) <= MOST_WITH_NUMBERS
    cell, label = (CELL, _LABEL) if with_numbers else (SMALL_CELL, 3 * _MARGIN)
    left, top, side = label + _MARGIN, _TITLE + 3 * _MARGIN, cell * len(names)
    picture = Image.new("RGB", (max(left + side + _MARGIN, 360), top + side + 2 * _MARGIN), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    draw.text((_MARGIN, _MARGIN), shorten(title, picture.width - 2 * _MARGIN, font_of(16)), fill=INK, font=font_of(16))
    draw.text((left, _TITLE + _MARGIN), "predicted", fill=FAINT, font=font_of(13))
    draw.text((_MARGIN, _TITLE + _MARGIN), "true", fill=FAINT, font=font_of(13))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    for (row, column), share in np.ndenumerate(shares):
        x, y = left + column * cell, top + row * cell
        gap = 2 if with_numbers else 0
        draw.rectangle((x, y, x + cell - 1 - gap, y + cell - 1 - gap), fill=shade(share))
        if with_numbers and counts[row, column]:
            box = (x, y, cell - gap, cell - gap)
            _centre(draw, f"{counts[row, column]}", box, font_of(14), "#ffffff" if share > 0.45 else INK)
    if with_numbers:
        for place, name in enumerate(names):
            draw.text(
                (_MARGIN, top + place * cell + 19), shorten(name, _LABEL, font_of(13)), fill=INK, font=font_of(13)
            )
            short = shorten(name, cell - 4, font_of(12))
            _centre(draw, short, (left + place * cell, top + side, cell, 20), font_of(12), INK)
    return picture


def _centre(draw: ImageDraw.ImageDraw, text: str, box: tuple[int, int, int, int], font: Font, colour: str) -> None:
    """Write a text in the middle of a box. box: x, y, width, height."""
    x, y, width, height = box
    left, upper, right, lower = font.getbbox(text)
    place = (x + (width - right - left) / 2, y + (height - lower - upper) / 2)
    draw.text(place, text, fill=colour, font=font)
