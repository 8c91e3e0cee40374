"""Parallel coordinates: where lines go, which one is the best, and that no text becomes markup."""

import re
from xml.etree import ElementTree

import pytest

from expkit.core.plots.parallel_coordinates import HEIGHT, TOP, Trace, parallel_chart

TRACES = [Trace(["0.001", "sgd"], 0.5, "a"), Trace(["0.1", "adam"], 0.9, "b"), Trace(["0.01", "sgd"], 0.7, "<c>")]


def lines(svg: str) -> dict[str, list[tuple[float, float]]]:
    found = {}
    for line in ElementTree.fromstring(svg).iter("polyline"):
        title = line.find("title")
        assert title is not None
        pairs = re.findall(r"([\d.]+),([\d.]+)", line.get("points", ""))
        found[str(title.text)] = [(float(x), float(y)) for x, y in pairs]
    return found


def test_numbers_are_in_order_and_the_score_is_to_scale() -> None:
    found = lines(parallel_chart("t", ["lr", "optimizer"], TRACES, "accuracy", higher=True))
    heights = {label: [y for _, y in points] for label, points in found.items()}
    assert heights["a"][0] > heights["<c>"][0] > heights["b"][0] == TOP  # y grows downwards
    assert heights["a"][1] == heights["<c>"][1] != heights["b"][1]
    assert heights["<c>"][2] == pytest.approx((heights["a"][2] + heights["b"][2]) / 2, abs=0.11)
    assert all(TOP <= y <= HEIGHT for points in heights.values() for y in points)


@pytest.mark.parametrize(("higher", "best"), [(True, "b"), (False, "a")])
def test_the_best_is_drawn_last_in_a_colour_of_its_own(higher: bool, best: str) -> None:
    svg = parallel_chart("t", ["lr", "optimizer"], TRACES, "accuracy", higher)
    assert list(lines(svg))[-1] == best
    assert svg.count('class="line c1"') == 1


def test_one_value_and_equal_scores_have_a_place() -> None:
    found = lines(parallel_chart("t", ["lr"], [Trace(["1"], 0.5, "a"), Trace(["1"], 0.5, "b")], "accuracy", True))
    assert found["a"] == found["b"]
