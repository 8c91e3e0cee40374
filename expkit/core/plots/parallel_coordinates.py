"""Parallel coordinates as SVG: an axis per setting, the score last, a line per run, the best run on top."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from expkit.core.plots.svg import figure, short, ticks

WIDTH, HEIGHT, TOP, BOTTOM = 900, 300, 44, 16
_MARGIN = 70  # units of the view box outside the outer axes
_MOST_TICKS = 14  # labels along an axis that are still readable


@dataclass(frozen=True)
class Trace:
    """One run: the value on each axis, as text, and its score; label: the tooltip."""

    values: Sequence[str]
    score: float
    label: str


def parallel_chart(title: str, axes: Sequence[str], traces: Sequence[Trace], score: str, higher: bool) -> str:
    """Return the chart as a <figure>; better runs have stronger lines. higher: whether higher is better."""
    places = [_places([trace.values[number] for trace in traces]) for number in range(len(axes))]
    low, high = min(trace.score for trace in traces), max(trace.score for trace in traces)
    room = high - low or 1.0
    step = (WIDTH - 2 * _MARGIN) / max(len(axes), 1)
    xs = [_MARGIN + step * number for number in range(len(axes) + 1)]
    marks = [list(place.items()) for place in places]
    marks.append([(short(value), (value - low) / room if high > low else 0.5) for value in ticks(low, high)])
    shapes = [f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>' for x in xs]
    order = sorted(traces, key=lambda trace: trace.score, reverse=not higher)
    for rank, trace in enumerate(order):
        heights = [place[value] for place, value in zip(places, trace.values, strict=True)]
        heights.append((trace.score - low) / room if high > low else 0.5)
        shapes.append(_line(xs, heights, trace, rank == len(order) - 1, (rank + 1) / len(order)))
    for x, name, some in zip(xs, [*axes, score], marks, strict=True):
        shapes += _labels(x, name, some)  # last: over the lines
    return figure(title, shapes, size=(WIDTH, HEIGHT), kind="chart wide")


def _places(values: Sequence[str]) -> dict[str, float]:
    """Return the position of each value on its axis, 0 to 1: numbers sorted, text in the order of the sweep."""
    different = list(dict.fromkeys(values))
    try:
        different.sort(key=float)
    except ValueError:
        different.reverse()
    last = len(different) - 1
    return {value: number / last if last else 0.5 for number, value in enumerate(different)}


def _y(height: float) -> float:
    return HEIGHT - BOTTOM - height * (HEIGHT - TOP - BOTTOM)


def _labels(x: float, name: str, marks: Sequence[tuple[str, float]]) -> list[str]:
    """Return the name above an axis and its tick labels."""
    drawn = [f'<text class="name" x="{x:.1f}" y="{TOP - 20}" text-anchor="middle">{escape(name)}</text>']
    every = -(-len(marks) // _MOST_TICKS)
    for text, height in marks[::every]:
        drawn.append(
            f'<text class="tick" x="{x - 6:.1f}" y="{_y(height) + 4:.1f}" text-anchor="end">{escape(text)}</text>'
        )
    return drawn


def _line(xs: Sequence[float], heights: Sequence[float], trace: Trace, is_best: bool, strength: float) -> str:
    points = " ".join(f"{x:.1f},{_y(height):.1f}" for x, height in zip(xs, heights, strict=True))
    style = "c1" if is_best else f'c0" style="opacity: {0.15 + 0.7 * strength**2:.2f}'
    return f'<polyline class="line {style}" points="{points}"><title>{escape(trace.label)}</title></polyline>'
