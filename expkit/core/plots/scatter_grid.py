"""Predicted over true numbers as pixels, each number above the histogram of its errors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from expkit.core.plots.image_grid import BACKGROUND, FAINT, FRAME, GAP, INK, LINE, font_of, shorten

SIDE, LOW = 260, 90  # pixels: side of a scatter plot, height of a histogram
BINS = 31
_DOT, _BAR = (31, 111, 196, 110), "#1f6fc4"
_MARGIN = 44  # left of a plot, for its numbers
_HEIGHT = 2 * LINE + SIDE + 4 * LINE + LOW + LINE + GAP
_WIDTH = _MARGIN + SIDE + 2 * GAP


@dataclass(frozen=True)
class Panel:
    """true, predicted: (N,) of one number."""

    title: str
    true: NDArray[np.float64]
    predicted: NDArray[np.float64]


def draw_scatter(panels: Sequence[Panel], columns: int, title: str) -> Image.Image:
    """Draw each panel, in rows of `columns`, below a title."""
    rows, top = -(-len(panels) // columns), 2 * GAP + LINE
    picture = Image.new("RGB", (GAP + columns * _WIDTH, top + rows * _HEIGHT), BACKGROUND)
    draw = ImageDraw.Draw(picture, "RGBA")
    draw.text((GAP, GAP), shorten(title, picture.width - 2 * GAP, font_of(16)), fill=INK, font=font_of(16))
    for number, panel in enumerate(panels):
        row, column = divmod(number, columns)
        left, upper = GAP + column * _WIDTH + _MARGIN, top + row * _HEIGHT
        _write(draw, panel.title, left, upper, 15, INK)
        _draw_points(draw, panel, left, upper + LINE + 4)
        _draw_errors(draw, panel, left, upper + 2 * LINE + SIDE + 2 * LINE)
    return picture


def _draw_points(draw: ImageDraw.ImageDraw, panel: Panel, left: int, top: int) -> None:
    """Draw predicted over true numbers; what lies outside the range of the true ones is drawn at the edge."""
    low, high = _padded(panel.true)
    draw.rectangle((left, top, left + SIDE, top + SIDE), fill=FRAME)
    draw.line((left, top + SIDE, left + SIDE, top), fill=FAINT, width=1)
    across, up = ((values.clip(low, high) - low) / (high - low) * SIDE for values in (panel.true, panel.predicted))
    for x, y in zip(across, up, strict=True):
        draw.ellipse((left + x - 2, top + SIDE - y - 2, left + x + 2, top + SIDE - y + 2), fill=_DOT)
    for place, value in ((0, low), (SIDE, high)):
        text = f"{value:.3g}"
        length = round(font_of(12).getlength(text))
        draw.text((left + place - (length if place else 0), top + SIDE + 3), text, fill=FAINT, font=font_of(12))
        draw.text((left - length - 5, top + SIDE - place - (0 if place else 14)), text, fill=FAINT, font=font_of(12))
    _write(draw, "true", left + SIDE // 2 - 12, top + SIDE + 3, 12, FAINT)
    draw.text((left - _MARGIN + 2, top + SIDE // 2 - 8), "said", fill=FAINT, font=font_of(12))


def _draw_errors(draw: ImageDraw.ImageDraw, panel: Panel, left: int, top: int) -> None:
    """Draw the histogram of predicted - true, with zero in the middle."""
    errors = panel.predicted - panel.true
    limit = float(np.abs(errors).max(initial=0.0)) or 1.0
    counts, _ = np.histogram(errors, BINS, (-limit, limit))
    _write(draw, f"errors: mean {errors.mean():.2g}, std {errors.std():.2g}", left, top, 12, INK)
    base, step = top + LINE + LOW, SIDE / BINS
    draw.rectangle((left, top + LINE, left + SIDE, base), fill=FRAME)
    for place, count in enumerate(counts):
        height = round(count / counts.max(initial=1) * (LOW - 4))
        if height:
            draw.rectangle((left + place * step + 1, base - height, left + (place + 1) * step - 1, base), fill=_BAR)
    draw.line((left + SIDE / 2, top + LINE, left + SIDE / 2, base), fill=FAINT, width=1)
    for share, text in ((0, f"{-limit:.2g}"), (0.5, "0"), (1, f"{limit:.2g}")):
        length = font_of(12).getlength(text)
        draw.text((left + share * (SIDE - length), base + 3), text, fill=FAINT, font=font_of(12))


def _padded(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the range of values, a twentieth wider at both ends."""
    low, high = float(values.min(initial=np.inf)), float(values.max(initial=-np.inf))
    margin = (high - low) / 20 or 0.5
    return low - margin, high + margin


def _write(draw: ImageDraw.ImageDraw, text: str, left: float, top: float, size: int, colour: str) -> None:
    draw.text((left, top), shorten(text, SIDE, font_of(size)), fill=colour, font=font_of(size))
