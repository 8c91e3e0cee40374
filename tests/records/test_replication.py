import math
from typing import Any

import pytest

from expkit.records.replication import compare, is_time, with_weights


def points(*losses: float, **more: float) -> list[dict[str, Any]]:
    return [{"kind": "step", "epoch": 0, "step": n + 1, "loss": loss, **more} for n, loss in enumerate(losses)]


def test_times_do_not_count() -> None:
    verdict = compare(points(1.0, 0.5, images_per_second=3.0), points(1.0, 0.5, images_per_second=9.0))
    assert verdict.kind == "identical"
    assert "2 points, 2 values, up to step 2" in verdict.text
    assert is_time("data_wait")
    assert not is_time("lr")


@pytest.mark.parametrize(
    ("ours", "kind", "told"),
    [
        (points(0.7, 0.6931), "identical", "identical"),
        (points(0.7, 0.6931 + 1e-8), "equal", "equal to 1e-6"),
        (points(0.7, 0.6935), "differs", "differs from step 2 (first difference: loss 0.6931 / 0.6935)"),
        (points(0.7), "differs", "differs from step 2 (the record has a step point there, this run has none)"),
        (points(math.nan, 0.6931), "differs", "differs from step 1 (first difference: loss 0.7 / nan)"),
    ],
)
def test_the_first_difference_is_told(ours: list[dict[str, Any]], kind: str, told: str) -> None:
    verdict = compare(points(0.7, 0.6931), ours)
    assert verdict.kind == kind
    assert verdict.text.startswith(told)
    assert verdict.holds is (kind != "differs")


def test_nan_is_nan() -> None:
    assert compare(points(math.nan), points(math.nan)).kind == "identical"


def test_only_the_first_steps_are_compared() -> None:
    assert compare(points(1.0, 2.0, 3.0), points(1.0, 2.0), last_step=2).kind == "identical"
    assert compare(points(1.0), points(1.0), last_step=0).kind == "nothing"


def test_a_close_step_does_not_hide_a_later_difference() -> None:
    assert compare(points(1.0, 2.0), points(1.0 + 1e-9, 2.1)).text.startswith("differs from step 2")


def test_equal_points_are_not_enough_where_weights_differ() -> None:
    same = compare(points(1.0), points(1.0))
    assert with_weights(same, {"weights_sha256": "a"}, {"weights_sha256": "a"}).kind == "identical"
    assert with_weights(same, {"weights_sha256": "a"}, {"weights_sha256": "b"}).kind == "differs"
    assert with_weights(same, {}, {"weights_sha256": "b"}) == same
