"""Scores against numbers worked out by hand, or published."""

import math

import pytest
import torch

from expkit.inference.evaluate.intervals import wilson
from expkit.inference.evaluate.scores import multilabel, single_label

NAMES = ("a", "b", "c")
# By argmax: a a b c b a; the third and the last are wrong.
PROBABILITIES = torch.tensor(
    [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8], [0.3, 0.6, 0.1], [0.5, 0.3, 0.2]]
)
TARGETS = torch.tensor([0, 0, 2, 2, 1, 1])


def test_single_label_by_hand() -> None:
    scores = single_label(PROBABILITIES, TARGETS, NAMES, top_k=2)
    overall = scores.overall
    assert overall["accuracy"] == pytest.approx(4 / 6)
    assert scores.intervals["accuracy"] == wilson(4, 6)
    assert scores.intervals["top2"] == wilson(6, 6)
    assert overall["top2"] == 1
    assert overall["loss"] == pytest.approx(-sum(map(math.log, (0.8, 0.6, 0.3, 0.8, 0.6, 0.3))) / 6)
    by_class = {one.name: one for one in scores.by_class}
    # a: 3 predicted, 2 of them right, 2 there. b: 2, 1, 2. c: 1, 1, 2.
    assert (by_class["a"].precision, by_class["a"].recall) == pytest.approx((2 / 3, 1))
    assert (by_class["b"].precision, by_class["b"].recall) == pytest.approx((1 / 2, 1 / 2))
    assert (by_class["c"].precision, by_class["c"].recall) == pytest.approx((1, 1 / 2))
    f1 = (4 / 5, 1 / 2, 2 / 3)
    assert [by_class[name].f1 for name in NAMES] == pytest.approx(f1)
    assert overall["f1_macro"] == pytest.approx(sum(f1) / 3)
    assert overall["f1_weighted"] == pytest.approx(sum(f1) / 3)  # two images of each
    assert overall["balanced_accuracy"] == pytest.approx(2 / 3)
    # a: the two of it have 0.8 and 0.6, above all others. c: 0.8 and 0.3 against 0.1 0.1 0.1 0.2.
    assert (by_class["a"].auc, by_class["c"].auc) == pytest.approx((1, 1))
    # b: 0.6 and 0.3 against 0.1 0.3 0.5 0.1: of 8 pairs 4 + 2 won, one tied.
    assert by_class["b"].auc == pytest.approx((4 + 2.5) / 8)
    # Confidences 0.8 0.6 0.5 0.8 0.6 0.5, in 15 bins: two of 0.8 (right), two of 0.6 (right), two of 0.5 (wrong).
    assert overall["calibration_error"] == pytest.approx((0.2 + 0.4 + 0.5) / 3, abs=1e-6)
    assert scores.confusion is not None
    assert scores.confusion.tolist() == [[2, 0, 0], [1, 1, 0], [0, 1, 1]]


def test_a_class_that_does_not_occur_is_left_out_of_the_means() -> None:
    kept = TARGETS != 2
    scores = single_label(PROBABILITIES[kept], TARGETS[kept], NAMES)
    absent = scores.by_class[2]
    assert absent.count == 0
    assert math.isnan(absent.recall)
    assert math.isnan(absent.auc)
    assert scores.overall["balanced_accuracy"] == pytest.approx((1 + 1 / 2) / 2)
    assert not math.isnan(scores.overall["auc"])


def test_multilabel_by_hand() -> None:
    probabilities = torch.tensor([[0.9, 0.2], [0.8, 0.7], [0.3, 0.6], [0.1, 0.4]])
    targets = torch.tensor([[1.0, 0], [1, 1], [0, 0], [1, 0]])
    scores = multilabel(probabilities, targets, ("red", "green"))
    assert scores.overall["accuracy"] == pytest.approx(6 / 8)
    assert scores.overall["exact"] == pytest.approx(2 / 4)
    red, green = scores.by_class
    assert (red.precision, red.recall, red.count) == pytest.approx((1, 2 / 3, 3))
    assert (green.precision, green.recall, green.count) == pytest.approx((1 / 2, 1, 1))
    assert scores.overall["f1_macro"] == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert scores.overall["f1_micro"] == pytest.approx(6 / 8)
    # red: ranks 1 2 (3 is wrong) 4: (1 + 1 + 3/4) / 3; green: the only one is first.
    assert scores.overall["average_precision"] == pytest.approx(((1 + 1 + 3 / 4) / 3 + 1) / 2)
    assert red.auc == pytest.approx(2 / 3)
    assert scores.confusion is None
