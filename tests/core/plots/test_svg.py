"""Charts: every value in its place, spikes kept, gaps left, and no text that becomes markup."""

import json
import re
from html import unescape
from xml.etree import ElementTree

import pytest

from expkit.core.plots.svg import Line, bar_chart, line_chart, scatter, short, thin_out, ticks


def points_of(chart: str) -> list[list[tuple[float, float]]]:
    found = re.findall(r'<polyline class="line [^"]*" points="([^"]*)"', chart)
    return [[tuple(map(float, pair.split(","))) for pair in one.split()] for one in found]  # type: ignore[misc]


def test_values_stand_at_their_places() -> None:
    (points,) = points_of(line_chart("loss", [Line("train", [0, 5, 10], [0.0, 4.0, 2.0])], "step"))
    (left, low), (middle, high), (right, half) = points
    assert left < middle < right
    assert middle - left == pytest.approx(right - middle, abs=0.2)
    assert high < half < low  # the view box counts downwards
    assert half == pytest.approx((high + low) / 2, abs=0.2)


def test_what_is_no_number_leaves_a_gap() -> None:
    values = [1.0, 2.0, float("nan"), 3.0, float("inf"), 4.0, 5.0]
    chart = line_chart("loss", [Line("", list(range(7)), values)], "step")
    assert [len(stretch) for stretch in points_of(chart)] == [2, 2]
    assert chart.count("<circle") == 1
    assert "nan" not in chart.lower().replace("finance", "")


def test_a_chart_of_nothing_is_still_a_chart() -> None:
    ElementTree.fromstring(line_chart("loss", [Line("a", [], []), Line("b", [1], [float("nan")])], "step"))


def test_long_lines_are_thinned_out_and_keep_their_spikes() -> None:
    pairs = [(float(x), 0.0) for x in range(100_000)]
    pairs[54_321] = (54_321.0, 9.0)
    thin = thin_out(pairs)
    assert len(thin) <= 402
    assert (54_321.0, 9.0) in thin
    assert (thin[0], thin[-1]) == (pairs[0], pairs[-1])
    assert [x for x, _ in thin] == sorted(x for x, _ in thin)


@pytest.mark.parametrize("draw", [
    lambda text: line_chart(text, [Line(text, [1, 2], [1, 2])], text, text),
    lambda text: bar_chart(text, [0, 1, 2], [3, 4], text),
    lambda text: scatter(text, {text: [(1, 2)]}, text, text),
])  # fmt: skip
def test_no_text_becomes_markup(draw: object) -> None:
    text = """</svg><script>alert('1')</script>"' onload='x' &amp;"""
    chart = draw(text)  # type: ignore[operator]
    tree = ElementTree.fromstring(chart)
    assert not [one for one in tree.iter() if one.tag == "script" or "onload" in one.attrib]
    assert tree.findtext("figcaption") == text


def test_the_script_reads_back_the_lines() -> None:
    chart = line_chart(
        "loss", [Line('it\'s "a" <b>', [1, 2], [0.5, 0.25]), Line("", [0, 1], [0, 1], reference=True)], "x"
    )
    lines = json.loads(unescape(re.search(r"data-lines='([^']*)'", chart).group(1)))  # type: ignore[union-attr]
    assert lines[0]["label"] == 'it\'s "a" <b>'
    assert lines[0]["points"] == [[1, 0.5], [2, 0.25]]
    assert lines[1]["points"] == []


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3, 7), (1e-9, 3e-9), (0, 123456), (1e19, 1.1e20)])
def test_ticks_are_round_and_few(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 2 <= len(found) <= 11
    assert all(low - 1e-9 * abs(high) <= value <= high * (1 + 1e-9) for value in found)
    assert all(len(short(value)) <= 8 for value in found)
