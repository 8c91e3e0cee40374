"""Horizontal bar charts as SVG, for a page or a file."""

from collections.abc import Mapping
from html import escape
from pathlib import Path

WIDTH, BAR, GAP, LEFT, RIGHT, TOP = 440, 22, 10, 150, 56, 12
# A separate file inherits no colours from a page.
_STYLE = 'style="background: #fff; color: #222; font: 12px sans-serif"'


def share_chart(title: str, shares: Mapping[str, float]) -> str:
    """Return a chart as a <figure>. shares: name -> 0..1."""
    return f'<figure class="chart"><figcaption>{escape(title)}</figcaption>{_svg(title, shares)}</figure>'


def write_share_chart(path: Path, title: str, shares: Mapping[str, float]) -> None:
    """Write a chart as an SVG file."""
    path.write_text(_svg(title, shares, f'xmlns="http://www.w3.org/2000/svg" width="{2 * WIDTH}" {_STYLE}'), "utf-8")


def _svg(title: str, shares: Mapping[str, float], more: str = "") -> str:
    height = TOP * 2 + len(shares) * (BAR + GAP) - GAP
    shapes = [shape for number, item in enumerate(shares.items()) for shape in _bar(number, *item)]
    head = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}" {more}>'
    return f"{head}{''.join(shapes)}</svg>"


def _bar(number: int, name: str, share: float) -> list[str]:
    y = TOP + number * (BAR + GAP)
    length = share * (WIDTH - LEFT - RIGHT)
    middle = f'y="{y + BAR / 2 + 4:.0f}" fill="currentColor" font-size="12"'
    return [
        f'<text x="{LEFT - 8}" {middle} text-anchor="end">{escape(name)}</text>',
        f'<rect x="{LEFT}" y="{y}" width="{max(length, 1):.1f}" height="{BAR}" rx="2" fill="#4477aa"/>',
        f'<text x="{LEFT + length + 6:.1f}" {middle}>{share:.0%}</text>',
    ]
