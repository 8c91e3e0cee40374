"""Rates against torch's own schedulers."""

import warnings
from typing import Any

import pytest
import torch
from torch.optim import SGD, lr_scheduler

from expkit.core.errors import ConfigError
from expkit.training.schedules import build_schedule


def rates(node: dict[str, Any], steps: int = 40, per_epoch: int = 10) -> list[float]:
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    schedule = build_schedule(node, optimizer, per_epoch, steps)
    found = []
    for step in range(1, steps + 1):
        found.append(optimizer.param_groups[0]["lr"])
        schedule.after_step()
        if step % per_epoch == 0:
            schedule.after_epoch(1.0)
    return found


def torch_rates(make: Any, steps: int = 40) -> list[float]:
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler = make(optimizer)
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no optimizer.step() here: only the rates are looked at
        for _ in range(steps):
            found.append(optimizer.param_groups[0]["lr"])
            scheduler.step()
    return found


def test_one_cycle_has_torch_s_ends_and_nearly_its_course() -> None:
    """Torch puts the peak at step pct_start * total - 1, ours at that share of the run: a step apart at most."""
    theirs = torch_rates(lambda opt: lr_scheduler.OneCycleLR(opt, 0.5, total_steps=40, cycle_momentum=False), 39)
    ours = rates({"name": "one_cycle", "pct_start": 0.3})
    assert ours[0] == pytest.approx(theirs[0])
    assert ours[-1] == pytest.approx(0.5 / 25 / 1e4)
    assert max(ours) == pytest.approx(max(theirs), rel=0.01)
    assert abs(ours.index(max(ours)) - theirs.index(max(theirs))) <= 1
    assert ours[12:39] == pytest.approx(theirs[12:39], rel=0.1, abs=0.002)


def test_cosine_is_torch_s() -> None:
    theirs = torch_rates(lambda opt: lr_scheduler.CosineAnnealingLR(opt, T_max=39))
    assert rates({"name": "cosine"}) == pytest.approx(theirs, abs=1e-9)


def test_warm_up_rises_and_hands_over() -> None:
    found = rates({"name": "constant", "warmup_epochs": 1, "warmup_start": 0.1})
    assert found[0] == pytest.approx(0.05)
    assert found[:11] == sorted(found[:11])
    assert found[10:] == [0.5] * 30


def test_step_falls_at_its_milestones() -> None:
    found = rates({"name": "step", "milestones": [0.5], "gamma": 0.1})
    assert found[0] == 0.5
    assert found[-1] == pytest.approx(0.05)
    assert sum(rate == 0.5 for rate in found) == 20


@pytest.mark.filterwarnings("ignore:Detected call of")
def test_torch_s_own_move_by_epoch() -> None:
    assert rates({"name": "ExponentialLR", "gamma": 0.5})[::10] == [0.5, 0.25, 0.125, 0.0625]


def test_a_warm_up_longer_than_the_run_is_refused() -> None:
    with pytest.raises(ConfigError, match="do not fit"):
        rates({"name": "constant", "warmup_steps": 40})


def test_by_epochs_it_is_torchvision_s_warm_up_and_cosine() -> None:
    def torchvision(optimizer: SGD) -> lr_scheduler.LRScheduler:
        rise = lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters=2)
        fall = lr_scheduler.CosineAnnealingLR(optimizer, T_max=6)
        return lr_scheduler.SequentialLR(optimizer, [rise, fall], milestones=[2])

    node = {"name": "cosine", "unit": "epoch", "warmup_epochs": 2, "warmup_unit": "epoch"}
    found = rates(node, steps=80, per_epoch=10)
    assert found == [rate for rate in found[::10] for _ in range(10)]  # it moves between epochs alone
    assert found[::10] == pytest.approx(torch_rates(torchvision, 8), abs=1e-9)


@pytest.mark.filterwarnings("ignore:Detected call of")
def test_torch_s_own_follow_a_warm_up_by_epochs() -> None:
    node = {"name": "StepLR", "step_size": 1, "gamma": 0.5, "warmup_epochs": 2, "warmup_unit": "epoch"}
    assert rates(node)[::10] == pytest.approx([0.005, 0.2525, 0.5, 0.25])
