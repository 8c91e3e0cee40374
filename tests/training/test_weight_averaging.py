"""The moving average against its formula, and early stopping against a list of scores."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from expkit.config.hydra_loader import Config
from expkit.core.errors import ConfigError
from expkit.training.early_stopping import EarlyStopping
from expkit.training.trainer import Trainer
from expkit.training.weight_averaging import EqualAverage, ExponentialAverage, TorchvisionAverage
from tests.training.test_trainer import trainer_of


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
    trainer = trainer_of(small_config("epochs=1", "ema_decay=0.999", "optimizer.lr=0.1"))
    trainer.run()
    assert trainer.state.average is not None
    trainer.state.average, average = None, trainer.state.average
    of_weights = trainer.evaluate()
    trainer.state.model.load_state_dict(average.model.state_dict())
    assert trainer.evaluate()["loss"] == pytest.approx(trainer.state.position.scores["val/loss"], rel=1e-4)
    assert of_weights != trainer.evaluate()


def test_the_equal_average_is_that_of_the_last_epochs_ends() -> None:
    model = nn.Linear(1, 1, bias=False)
    average = EqualAverage(model, first=7, steps_per_epoch=3, last_step=17)
    taken = []
    for step in range(1, 18):
        with torch.no_grad():
            model.weight.fill_(math.sin(step))
        average.after_step(step, model)
        if step in (9, 12, 15, 17):  # 3 and 6 are before the first; 17 is where the run is cut
            taken.append(math.sin(step))
        expected = sum(taken) / len(taken) if taken else math.sin(max(step // 3 * 3, 0))
        if step >= 3:
            assert float(average.model.weight) == pytest.approx(expected, rel=1e-5)


def test_the_statistics_of_an_equal_average_are_those_of_its_own_weights() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    average = EqualAverage(model, first=1, steps_per_epoch=1, last_step=2)
    for step in (1, 2):
        nn.init.normal_(model[0].weight)
        average.after_step(step, model)
    images = [torch.randn(8, 3, 6, 6) for _ in range(3)]
    average.before_evaluation(lambda: iter(images))
    with torch.no_grad():
        inner = [average.model[0](batch) for batch in images]  # type: ignore[index]
    means = torch.stack([one.mean((0, 2, 3)) for one in inner]).mean(0)
    variances = torch.stack([one.var((0, 2, 3)) for one in inner]).mean(0)
    torch.testing.assert_close(average.model[1].running_mean, means)  # type: ignore[index]
    torch.testing.assert_close(average.model[1].running_var, variances)  # type: ignore[index]


def test_a_run_evaluates_its_equal_average(small_config: Callable[..., Config], monkeypatch: Any) -> None:
    ends: list[dict[str, torch.Tensor]] = []
    finish = Trainer.finish_epoch

    def finishing(trainer: Trainer, *more: Any) -> None:
        ends.append({name: value.clone() for name, value in trainer.state.model.named_parameters()})
        finish(trainer, *more)

    monkeypatch.setattr(Trainer, "finish_epoch", finishing)
    trainer = trainer_of(small_config("epochs=4", "swa_from=0.5", "checkpoint=none"))
    trainer.run()
    assert trainer.state.average is not None
    for name, value in trainer.state.average.model.named_parameters():
        torch.testing.assert_close(value, torch.stack([end[name] for end in ends[1:]]).mean(0))  # ends 2, 3 and 4


def test_torchvision_s_average_starts_after_the_warm_up() -> None:
    model = nn.Linear(1, 1, bias=False)
    average = TorchvisionAverage(model, 0.999, every=2, batch_size=10, epochs=4, steps_per_epoch=3, copied=1)
    expected, decay = 0.0, 1 - 0.001 * 10 * 2 / 4
    for step in range(1, 13):
        with torch.no_grad():
            model.weight.fill_(math.sin(step))
        average.after_step(step, model)
        if (step - 1) % 3 in (0, 2):
            is_copy = step <= 4  # those of the first epoch, and the first one after it
            expected = math.sin(step) if is_copy else decay * expected + (1 - decay) * math.sin(step)
        assert float(average.model.weight) == pytest.approx(expected, rel=1e-5)


def test_two_averages_are_refused(small_config: Callable[..., Config]) -> None:
    with pytest.raises(ConfigError, match="swa_from: a run has one average"):
        trainer_of(small_config("swa_from=0.5", "ema_decay=0.9"))


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
