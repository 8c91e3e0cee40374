"""The moving average against its formula, and early stopping against a list of scores."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from expkit.config import Config
from expkit.training.averaging import ExponentialAverage
from expkit.training.stopping import EarlyStopping
from tests.training.test_runner import runner_of


def test_the_average_follows_its_formula() -> None:
    model = nn.Linear(1, 1, bias=False)
    average = ExponentialAverage(model, decay=0.9)
    expected = 0.0
    for step in range(1, 200):
        with torch.no_grad():
            model.weight.fill_(math.sin(step))
        average.after_step(step, model)
        decay = min(0.9, step / (9 + step))  # (1 + n) / (10 + n) with n = step - 1 updates before
        expected = math.sin(step) if step == 1 else decay * expected + (1 - decay) * math.sin(step)
    assert float(average.model.weight) == pytest.approx(expected, rel=1e-5)


def test_buffers_are_averaged_and_some_steps_left_out() -> None:
    model = nn.BatchNorm1d(2)
    average = ExponentialAverage(model, decay=0.5, every=3)
    for step in range(1, 8):
        model(torch.randn(4, 2))
        average.after_step(step, model)
    assert average.updates == 2
    assert not torch.equal(average.model.running_mean, model.running_mean)


def test_the_average_is_what_is_evaluated(small_config: Callable[..., Config]) -> None:
    runner = runner_of(small_config("epochs=1", "ema_decay=0.999", "optimizer.lr=0.1"))
    runner.run()
    assert runner.parts.average is not None
    runner.parts.average, average = None, runner.parts.average
    of_weights = runner.evaluate()
    runner.parts.model.load_state_dict(average.model.state_dict())
    assert runner.evaluate()["loss"] == pytest.approx(runner.scores["val/loss"], rel=1e-4)
    assert of_weights != runner.evaluate()


@pytest.mark.parametrize(
    ("scores", "higher", "min_delta", "end"),
    [
        ([0.1, 0.2, 0.2, 0.1, 0.3], True, 0.0, 4),  # equal is no improvement
        ([0.1, 0.3, 0.2, 0.4, 0.2, 0.2], True, 0.0, 6),
        ([0.5, 0.4, 0.39, 0.38], False, 0.05, 4),  # too little
        ([math.nan, math.nan], False, 0.0, 2),
        ([0.4, 0.3, 0.2], False, 0.0, None),
    ],
)
def test_early_stopping(scores: list[float], higher: bool, min_delta: float, end: int | None) -> None:
    stopping, ended = EarlyStopping(2, min_delta, higher), None
    for number, score in enumerate(scores, 1):
        resumed = EarlyStopping(2, min_delta, higher)
        resumed.load_state_dict(stopping.state_dict())
        stopping = resumed
        stopping.after_epoch(score)
        if stopping.is_over:
            ended = number
            break
    assert ended == end
