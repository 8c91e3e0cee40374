"""Intervals: Wilson's as published, and the bootstrap against scores that torchmetrics gives of each resample."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from expkit.inference.evaluate import intervals
from expkit.inference.evaluate.intervals import wilson
from expkit.inference.evaluate.scores import Scores, multilabel, single_label

NAMES = ("a", "b", "c")


@pytest.mark.parametrize(
    ("correct", "count", "low", "high"),
    [
        # Newcombe 1998 (Statistics in Medicine 17, table I, method 3: the score method without correction)
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilsons_interval_as_published(correct: int, count: int, low: float, high: float) -> None:
    assert wilson(correct, count)[:2] == pytest.approx((low, high), abs=5e-5)


def test_wilsons_interval_of_all_and_of_none() -> None:
    assert wilson(10, 10)[1] == pytest.approx(1)
    assert wilson(0, 0) == (0, 1, "Wilson")


def drawn(count: int, task: str) -> tuple[Tensor, Tensor]:
    """Return probabilities and targets of a model that is right more often than not."""
    generator = torch.Generator().manual_seed(count)
    targets = torch.randint(3, (count,), generator=generator)
    there = torch.nn.functional.one_hot(targets, 3).float()
    logits = 1.5 * there + torch.randn(count, 3, generator=generator)
    if task == "single_label":
        return logits.softmax(1), targets
    several = ((there + there.roll(1, 0)) > 0).float()
    return (2 * several - 1 + torch.randn(count, 3, generator=generator)).sigmoid(), several


def scored(task: str, probabilities: Tensor, targets: Tensor) -> Scores:
    return {"single_label": single_label, "multilabel": multilabel}[task](probabilities, targets, NAMES)


@pytest.mark.parametrize("task", ["single_label", "multilabel"])
def test_the_bootstrap_is_that_of_the_scores_themselves(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    probabilities, targets = drawn(150, task)
    monkeypatch.setattr(intervals, "_RESAMPLES", (80, 80))
    found = scored(task, probabilities, targets)
    monkeypatch.setattr(intervals, "_AT_ONCE", 300)  # in pieces it is the same
    for name, one in scored(task, probabilities, targets).intervals.items():
        assert one[:2] == pytest.approx(found.intervals[name][:2], abs=1e-6), name
    monkeypatch.undo()
    monkeypatch.setattr("expkit.inference.evaluate.scores.bootstrap", lambda *_: {})
    generator = torch.Generator().manual_seed(intervals._SEED)
    chosen = torch.randint(150, (80, 150), generator=generator)
    each = [scored(task, probabilities[rows], targets[rows]).overall for rows in chosen]
    names = {name for name, one in found.intervals.items() if one.method == "bootstrap"}
    assert names >= {
        "f1_macro",
        "f1_weighted",
        "auc",
        "calibration_error",
        "loss" if len(targets.shape) == 1 else "f1_micro",
    }
    for name in names:
        values = torch.tensor([one[name] for one in each], dtype=torch.float64)
        limits = torch.quantile(values, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
        bounds = min(limits[0], found.overall[name]), max(limits[1], found.overall[name])
        assert found.intervals[name][:2] == pytest.approx(bounds, abs=5e-3 if name == "auc" else 1e-5), name


def test_it_has_a_seed_of_its_own() -> None:
    given = drawn(60, "single_label")
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = single_label(*given, NAMES).intervals
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert single_label(*given, NAMES).intervals == first


def test_decisions_on_one_image_are_not_counted_as_independent() -> None:
    targets = torch.zeros(100, 20)
    probabilities = torch.zeros(100, 20)
    probabilities[:30] = 1.0  # all labels of an image are right, or none
    found = multilabel(probabilities, targets, tuple("abcdefghijklmnopqrst")).intervals["accuracy"]
    low, high, _ = wilson(70, 100)
    assert found.method == "bootstrap"
    assert found.low == pytest.approx(low, abs=0.03)
    assert found.high == pytest.approx(high, abs=0.03)


@pytest.mark.parametrize("task", ["single_label", "multilabel"])
def test_every_interval_holds_its_score_and_is_named(task: str) -> None:
    for count in (2, 3, 9, 40):
        scores = scored(task, *drawn(count, task))
        for name, one in scores.intervals.items():
            assert 0 <= one.low <= scores.overall[name] <= one.high, (count, name)
            assert name == "loss" or one.high <= 1, (count, name)
        assert not any(math.isnan(value) for one in scores.intervals.values() for value in one[:2])
    assert str(scores.intervals["f1_macro"]).startswith("95 % confidence interval (bootstrap): 0.")
    exact = "accuracy" if task == "single_label" else "exact"
    assert str(scores.intervals[exact]).startswith("95 % confidence interval (Wilson): 0.")


def test_of_one_sample_there_is_no_bootstrap() -> None:
    scores: Any = single_label(torch.tensor([[0.7, 0.2, 0.1]]), torch.tensor([0]), NAMES)
    assert set(scores.intervals) == {"accuracy"}
    scores = multilabel(torch.tensor([[0.7, 0.2, 0.1]]), torch.tensor([[1, 0, 0]]), NAMES)
    assert set(scores.intervals) == {"exact"}
    assert "accuracy_low" not in scores.row()
