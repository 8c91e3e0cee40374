"""Charts as SVG that follow their page's colours, light or dark, and its width; made in a millisecond.

A plotting library takes 0.85 s to import, more than all the rest of a report, and its SVG has fixed colours.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 440, 260  # units of the view box
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 40
MOST_POINTS = 400  # of a line; more cannot be distinguished
COLOURS = 8  # .c0 to .c7 in the page's style

Pairs = list[tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """One line of a chart. colour: 0..7, None: the next one.

    faint: drawn thin, behind the others; dashed: where there are more lines than colours; reference: only for the eye.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    faint: bool = False
    dashed: bool = False
    reference: bool = False
    colour: int | None = None


def thin_out(pairs: Pairs, most: int = MOST_POINTS) -> Pairs:
    """Return about `most` points at most: the minimum and maximum of each interval, so that spikes remain."""
    if len(pairs) <= most:
        return pairs
    stretch = math.ceil(len(pairs) / (most / 2))
    kept: Pairs = []
    for first in range(0, len(pairs), stretch):
        part = pairs[first : first + stretch]
        kept += sorted({min(part, key=lambda pair: pair[1]), max(part, key=lambda pair: pair[1])})
    return [pairs[0], *kept[1:-1], pairs[-1]]


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return round numbers that span low..high, 1, 2 or 5 times a power of ten apart."""
    if not high > low:
        return [low]
    step = 10 ** math.floor(math.log10((high - low) / about))
    step = next(factor * step for factor in (1, 2, 5, 10) if (high - low) / (factor * step) <= about + 0.5)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def short(value: float) -> str:
    """Return an axis label for a number: 12k, 0.05, 1e-06."""
    if value and (abs(value) < 1e-3 or abs(value) >= 1e9):
        return f"{value:.1e}".replace(".0e", "e")
    for limit, letter in ((1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / {'M': 1e6, 'k': 1e3}[letter]:g}{letter}"
    return f"{value:.4g}"


def _bounds(values: Sequence[float], pad: float) -> tuple[float, float]:
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if low == high:
        room = abs(low) * 0.1 or 0.5
        return low - room, high + room
    return low - pad * (high - low), high + pad * (high - low)


class _Frame:
    """Converts values to positions in the view box."""

    def __init__(self, xs: Sequence[float], ys: Sequence[float]) -> None:
        self.x_low, self.x_high = _bounds(xs, 0.0)
        self.y_low, self.y_high = _bounds(ys, 0.06)
        if ys and min(ys) >= 0 > self.y_low:
            self.y_low = 0.0

    def x(self, value: float) -> float:
        return LEFT + (value - self.x_low) / (self.x_high - self.x_low) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (value - self.y_low) / (self.y_high - self.y_low) * (HEIGHT - TOP - BOTTOM)

    def axes(self, x_label: str, y_label: str) -> list[str]:
        drawn = []
        for value in ticks(self.y_low, self.y_high):
            at = self.y(value)
            drawn.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
            drawn.append(f'<text class="tick" x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{short(value)}</text>')
        for value in ticks(self.x_low, self.x_high):
            place = f'x="{self.x(value):.1f}" y="{HEIGHT - BOTTOM + 17}"'
            drawn.append(f'<text class="tick" {place} text-anchor="middle">{short(value)}</text>')
        base = HEIGHT - BOTTOM
        drawn.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base}" y2="{base}"/>')
        middle = (LEFT + WIDTH - RIGHT) / 2
        drawn.append(f'<text class="name" x="{middle}" y="{HEIGHT - 5}" text-anchor="middle">{escape(x_label)}</text>')
        if y_label:
            place = f'x="12" y="{(HEIGHT - BOTTOM) / 2}" transform="rotate(-90 12 {(HEIGHT - BOTTOM) / 2})"'
            drawn.append(f'<text class="name" {place} text-anchor="middle">{escape(y_label)}</text>')
        return drawn

    def data(self) -> str:
        """Return the data with which the page's script converts positions back to values."""
        inner = [LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM]
        return json.dumps({"x": [self.x_low, self.x_high], "y": [self.y_low, self.y_high], "box": inner})


def _finite(line: Line) -> list[Pairs]:
    """Return the segments of a line between NaN values."""
    stretches: list[Pairs] = [[]]
    for x, y in zip(line.x, line.y, strict=True):
        if math.isfinite(x) and math.isfinite(y):
            stretches[-1].append((float(x), float(y)))
        elif stretches[-1]:
            stretches.append([])
    return [thin_out(stretch) for stretch in stretches if stretch]


def line_chart(title: str, lines: Sequence[Line], x_label: str, y_label: str = "", legend: bool = True) -> str:
    """Return a chart as a <figure>; the page's script shows the values under the pointer.

    legend: False where the page has one for all its charts.
    """
    drawn = [(line, _finite(line)) for line in lines]
    points = [pair for _, stretches in drawn for stretch in stretches for pair in stretch]
    frame = _Frame([x for x, _ in points], [y for _, y in points])
    shapes, series, keys, colour = [], [], [], 0
    for line, stretches in sorted(drawn, key=lambda pair: not pair[0].faint):
        number = (colour if line.colour is None else line.colour) % COLOURS
        colour += line.colour is None
        style = f"c{number}" + " faint" * line.faint + " dashed" * (line.dashed or line.reference)
        style += " reference" * line.reference
        shapes += [_shape(frame, stretch, style) for stretch in stretches]
        if line.label and legend:
            keys.append(f'<span class="key {style}"><i></i>{escape(line.label)}</span>')
        pairs = [[_rounded(x), _rounded(y)] for stretch in stretches for x, y in stretch]
        series.append({"label": line.label, "colour": number, "points": [] if line.reference else pairs})
    data = f"data-frame='{frame.data()}' data-lines='{escape(json.dumps(series), quote=True)}'"
    return figure(title, frame.axes(x_label, y_label) + shapes, keys, data)


def figure(
    title: str, shapes: Iterable[str], keys: Sequence[str] = (), data: str = "",
    size: tuple[int, int] = (WIDTH, HEIGHT), kind: str = "chart",
) -> str:  # fmt: skip
    """Return shapes as a <figure>. keys: of the legend; data: attributes that the page's script reads."""
    svg = (
        f'<svg viewBox="0 0 {size[0]} {size[1]}" role="img" aria-label="{escape(title)}" {data}>{"".join(shapes)}</svg>'
    )
    legend = f'<div class="keys">{"".join(keys)}</div>' if keys else ""
    return f'<figure class="{kind}"><figcaption>{escape(title)}</figcaption>{legend}{svg}</figure>'


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _shape(frame: _Frame, stretch: Pairs, style: str) -> str:
    if len(stretch) == 1:
        (x, y), *_ = stretch
        return f'<circle class="dot {style}" cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="3"/>'
    places = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in stretch)
    return f'<polyline class="line {style}" points="{places}"/>'


def bar_chart(title: str, edges: Sequence[float], counts: Sequence[float], x_label: str = "") -> str:
    """Return a histogram as a <figure>. edges: (B + 1,); counts: (B,)."""
    frame = _Frame(list(edges), [0.0, *counts])
    bars = []
    for left, right, count in zip(edges, edges[1:], counts, strict=False):
        x, y, base = frame.x(left), frame.y(count), frame.y(0)
        size = f'width="{max(frame.x(right) - x - 0.6, 0.4):.1f}" height="{max(base - y, 0):.1f}"'
        bars.append(f'<rect class="bar c0" x="{x:.1f}" y="{y:.1f}" {size}/>')
    return figure(title, frame.axes(x_label, "") + bars)


def scatter(title: str, groups: Mapping[str, Pairs], x_label: str, y_label: str) -> str:
    """Return points in the colour of their group, as a <figure>."""
    every = [pair for pairs in groups.values() for pair in pairs]
    frame = _Frame([x for x, _ in every], [y for _, y in every])
    dots, keys = [], []
    for number, (label, pairs) in enumerate(groups.items()):
        style = f"c{number % COLOURS}" + " hollow" * (number >= COLOURS)
        keys.append(f'<span class="key {style}"><i></i>{escape(label)}</span>')
        places = [(frame.x(x), frame.y(y)) for x, y in pairs]
        dots += [f'<circle class="dot soft {style}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places]
    return figure(title, frame.axes(x_label, y_label) + dots, keys)
