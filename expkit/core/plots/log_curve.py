"""A curve over a logarithmic axis as pixels, with some points marked."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from expkit.core.plots.image_grid import BACKGROUND, FAINT, INK, font_of, shorten
from expkit.core.plots.svg import short, ticks

WIDTH, HEIGHT = 960, 560  # pixels
LEFT, RIGHT, TOP, BOTTOM = 80, 30, 56, 64
_GRID, _LINE, _DOT, _MARK = "#e3e6e9", "#1f5fa8", "#b9cde4", "#c4321e"


@dataclass(frozen=True)
class Curve:
    """x: above 0, increasing; y: the curve; dots: faint points behind it; marks: label -> x of a point."""

    x: Sequence[float]
    y: Sequence[float]
    dots: Sequence[float]
    marks: dict[str, float]


class _Frame:
    """Converts values to pixels; values above `high` are drawn at the upper edge."""

    def __init__(self, curve: Curve, high: float) -> None:
        low = min(curve.y)
        self.high = high if high > low else low + 1
        self.low = low - 0.15 * (self.high - low)
        self.first, self.last = math.log10(curve.x[0]), math.log10(curve.x[-1])

    def place(self, x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - self.first) / max(self.last - self.first, 1e-9)
        up = (min(y, self.high) - self.low) / (self.high - self.low)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)


def draw_curve(curve: Curve, title: str, x_label: str, y_label: str, high: float | None = None) -> Image.Image:
    """Draw a curve. high: the largest y to show, None: the curve's maximum."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    frame = _Frame(curve, max(curve.y) if high is None else high)
    draw.text((LEFT, 16), shorten(title, WIDTH - LEFT - RIGHT, font_of(18)), fill=INK, font=font_of(18))
    _draw_axes(draw, frame, x_label, y_label)
    for x, y in zip(curve.x, curve.dots, strict=True):
        if frame.low <= y <= frame.high:
            across, up = frame.place(x, y)
            draw.ellipse((across - 2, up - 2, across + 2, up + 2), fill=_DOT)
    draw.line([frame.place(x, y) for x, y in zip(curve.x, curve.y, strict=True)], fill=_LINE, width=3, joint="curve")
    for number, (name, x) in enumerate(curve.marks.items()):
        _draw_mark(draw, frame, curve, f"{name}: {short(x)}", x, number)
    return picture


def _draw_axes(draw: ImageDraw.ImageDraw, frame: _Frame, x_label: str, y_label: str) -> None:
    bottom = HEIGHT - BOTTOM
    for power in range(math.ceil(frame.first - 1e-9), math.floor(frame.last + 1e-9) + 1):
        across, _ = frame.place(10.0**power, frame.low)
        draw.line((across, TOP, across, bottom), fill=_GRID)
        draw.text((across, bottom + 8), f"1e{power}", fill=FAINT, font=font_of(14), anchor="ma")
    for value in ticks(frame.low, frame.high):
        _, up = frame.place(10.0**frame.first, value)
        draw.line((LEFT, up, WIDTH - RIGHT, up), fill=_GRID)
        draw.text((LEFT - 8, up), short(value), fill=FAINT, font=font_of(14), anchor="rm")
    draw.line((LEFT, bottom, WIDTH - RIGHT, bottom), fill=FAINT)
    draw.text(((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 26), x_label, fill=INK, font=font_of(15), anchor="ma")
    draw.text((LEFT, TOP - 4), y_label, fill=INK, font=font_of(15), anchor="rb")


def _draw_mark(draw: ImageDraw.ImageDraw, frame: _Frame, curve: Curve, text: str, x: float, number: int) -> None:
    nearest = min(range(len(curve.x)), key=lambda place: abs(math.log(curve.x[place] / x)))
    across, up = frame.place(curve.x[nearest], curve.y[nearest])
    draw.line((across, TOP, across, HEIGHT - BOTTOM), fill=_MARK)
    draw.ellipse((across - 5, up - 5, across + 5, up + 5), fill=_MARK)
    is_right = across > WIDTH * 0.7
    place = (across + (-8 if is_right else 8), TOP + 4 + 20 * number)
    draw.text(place, text, fill=_MARK, font=font_of(15), anchor="ra" if is_right else "la")
