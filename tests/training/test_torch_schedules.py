"""Each of torch's schedulers by name, beside torch's own stepped as torch's documentation steps it."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import SGD, Optimizer, lr_scheduler

from expkit.checkpoints.state_tree import join_tensors, split_tensors
from expkit.config.hydra_loader import Config
from expkit.config.registry import schedules
from expkit.core.errors import ConfigError
from expkit.runs.build import build
from expkit.runs.train import train as train_run
from expkit.training.schedules import Schedule, build_schedule

pytestmark = pytest.mark.filterwarnings("ignore:Detected call of")  # no optimizer.step(): only rates are looked at

PER_EPOCH, EPOCHS = 4, 6
STEPS = PER_EPOCH * EPOCHS
BY_EPOCH: dict[str, dict[str, Any]] = {
    "StepLR": {"step_size": 2, "gamma": 0.5},
    "MultiStepLR": {"milestones": [1, 3], "gamma": 0.5},
    "ConstantLR": {"factor": 0.25, "total_iters": 3},
    "LinearLR": {"start_factor": 0.2, "total_iters": 4},
    "ExponentialLR": {"gamma": 0.7},
    "PolynomialLR": {"total_iters": EPOCHS, "power": 2.0},
    "CosineAnnealingLR": {"T_max": EPOCHS},
    "CosineAnnealingWarmRestarts": {"T_0": 2, "T_mult": 2},
    "ReduceLROnPlateau": {"patience": 0, "factor": 0.5},
}
BY_STEP: dict[str, dict[str, Any]] = {
    "OneCycleLR": {"max_lr": 0.9},
    "CyclicLR": {"base_lr": 0.01, "max_lr": 0.9, "step_size_up": 3},
}
SCORES = [1.0, 0.8, 0.9, 0.7, 0.75, 0.7]  # of the epochs: a plateau twice


def groups() -> SGD:
    """Return an optimizer with three groups, as layer decay makes them."""
    layers = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 0.5 * 0.8**depth} for depth in range(3)]
    return SGD(layers, lr=0.5, momentum=0.9)


def drawn(optimizer: Optimizer) -> list[Any]:
    return [(group["lr"], group["momentum"]) for group in optimizer.param_groups]


def ours(node: Mapping[str, Any], steps: int = STEPS, stop: int | None = None) -> list[Any]:
    """Return each update's rates and momenta. stop: the update before which all is saved and read back anew."""
    optimizer = groups()
    schedule, found = build_schedule(node, optimizer, PER_EPOCH, steps), list[Any]()
    for step in range(steps):
        if step == stop:
            optimizer, schedule = resumed(node, optimizer, schedule, steps)
        found.append(drawn(optimizer))
        schedule.after_step()
        if (step + 1) % PER_EPOCH == 0:
            schedule.after_epoch(SCORES[step // PER_EPOCH])
    return found


def resumed(node: Mapping[str, Any], optimizer: Optimizer, schedule: Schedule, steps: int) -> tuple[SGD, Schedule]:
    plain, tensors = split_tensors([optimizer.state_dict(), schedule.state_dict()])
    states = join_tensors(json.loads(json.dumps(plain)), tensors)
    fresh = groups()
    anew = build_schedule(node, fresh, PER_EPOCH, steps)
    fresh.load_state_dict(states[0])
    anew.load_state_dict(states[1])
    return fresh, anew


def theirs(make: Callable[[Optimizer], Any], every: int, warmup: int = 0, steps: int = STEPS) -> list[Any]:
    """Return the same by torch alone, stepped after each `every` updates; a linear rise comes before it."""
    optimizer = groups()
    scheduler = make(optimizer)
    rates, found = [group["lr"] for group in optimizer.param_groups], list[Any]()
    for step in range(steps):
        if step <= warmup:
            share = 0.01 + 0.99 * step / warmup if warmup else 1.0
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * share
        found.append(drawn(optimizer))
        if step >= warmup and (step + 1) % every == 0 and step + 1 > warmup:
            scored = [SCORES[step // PER_EPOCH]] if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau) else []
            scheduler.step(*scored)
    return found


def flat(rows: Sequence[Any]) -> list[float]:
    return [value for row in rows for pair in row for value in pair]


def own(name: str, **options: Any) -> Callable[[Optimizer], Any]:
    return lambda optimizer: getattr(lr_scheduler, name)(optimizer, **options)


def test_the_table_has_the_whole_catalogue() -> None:
    catalogue = {name for name in schedules.names() if schedules.entry(name).source == "torch"}
    assert catalogue == {*BY_EPOCH, *BY_STEP}
    left_out = {"LambdaLR", "MultiplicativeLR", "SequentialLR", "ChainedScheduler", "LRScheduler"}
    assert {*lr_scheduler.__all__} - left_out == catalogue


@pytest.mark.parametrize("warmup", [0, 6])
@pytest.mark.parametrize("name", [*BY_EPOCH, *BY_STEP])
def test_each_draws_torch_s_curve_wherever_it_is_resumed(name: str, warmup: int) -> None:
    options, every = (BY_EPOCH | BY_STEP)[name], PER_EPOCH if name in BY_EPOCH else 1
    length = {"total_steps": STEPS - warmup} if name == "OneCycleLR" else {}
    node = {"name": name, "warmup_steps": warmup, **options}
    expected = theirs(own(name, **options, **length), every, warmup)
    whole = ours(node)
    assert flat(whole) == pytest.approx(flat(expected), abs=1e-12)
    for stop in range(1, STEPS):
        assert ours(node, stop=stop) == whole, stop


@pytest.mark.parametrize("name", [*BY_EPOCH, *BY_STEP])
def test_the_other_unit_counts_length_and_steps_alike(name: str) -> None:
    unit, every = ("step", 1) if name in BY_EPOCH else ("epoch", PER_EPOCH)
    every = PER_EPOCH if name == "ReduceLROnPlateau" else every  # it has a score after an epoch only
    options = (BY_EPOCH | BY_STEP)[name]
    length = {"total_steps": EPOCHS} if name == "OneCycleLR" else {}
    expected = theirs(own(name, **options, **length), every)
    assert flat(ours({"name": name, "unit": unit, **options})) == pytest.approx(flat(expected), abs=1e-12)


@pytest.mark.parametrize("warmup", [0, 3, 4, 5, 8])
@pytest.mark.parametrize("steps", [STEPS, STEPS - 2])
@pytest.mark.parametrize("unit", ["step", "epoch"])
def test_one_cycle_sees_its_last_rate_at_the_end(warmup: int, steps: int, unit: str) -> None:
    found = ours({"name": "OneCycleLR", "max_lr": 0.9, "unit": unit, "warmup_steps": warmup}, steps)
    rates = [row[0][0] for row in found]
    assert rates[-1] == pytest.approx(0.9 / 25 / 1e4)
    assert rates[-2 if unit == "step" else -1 - PER_EPOCH] > 1e-3
    assert max(rates) > 0.6  # by epochs the peak may lie between two


def test_a_longer_run_stretches_one_cycle() -> None:
    node = {"name": "OneCycleLR", "max_lr": 0.9}
    optimizer = groups()
    schedule = build_schedule(node, optimizer, PER_EPOCH, STEPS)
    for _ in range(STEPS):
        schedule.after_step()
    optimizer, schedule = resumed(node, optimizer, schedule, 2 * STEPS)
    expected = theirs(own("OneCycleLR", max_lr=0.9, total_steps=2 * STEPS), 1, steps=2 * STEPS)
    for step in range(STEPS, 2 * STEPS):
        if step > STEPS:
            assert flat([drawn(optimizer)]) == pytest.approx(flat([expected[step]]))
        schedule.after_step()


def test_a_run_of_version_0_1_ends_by_epochs_as_it_began() -> None:
    node = {"name": "OneCycleLR", "max_lr": 0.9}
    optimizer = groups()
    old = lr_scheduler.OneCycleLR(optimizer, max_lr=0.9, total_steps=STEPS)
    for _ in range(2):
        old.step()
    state = {"step": 2 * PER_EPOCH, "scheduler": {k: v for k, v in old.state_dict().items() if not callable(v)}}
    fresh = groups()
    schedule = build_schedule(node, fresh, PER_EPOCH, STEPS)
    fresh.load_state_dict(optimizer.state_dict())
    schedule.load_state_dict(state)
    for _ in range(PER_EPOCH):
        schedule.after_step()
        assert drawn(fresh) == drawn(optimizer)
    schedule.after_epoch(1.0)
    old.step()
    assert drawn(fresh) == drawn(optimizer)


def test_a_plugin_s_scheduler_moves_by_what_its_factory_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    schedules.names()
    monkeypatch.setattr(schedules, "_entries", dict(schedules._entries))

    @schedules.register("halving", "a plugin")
    def halving(optimizer: Optimizer) -> Any:
        return lr_scheduler.StepLR(optimizer, 2, 0.5)

    @schedules.register("falling", "a plugin")
    def falling(optimizer: Optimizer, total_steps: int) -> Any:
        return lr_scheduler.CosineAnnealingLR(optimizer, total_steps)

    assert flat(ours({"name": "halving"})) == flat(theirs(own("StepLR", step_size=2, gamma=0.5), PER_EPOCH))
    assert flat(ours({"name": "halving", "unit": "step"})) == flat(theirs(own("StepLR", step_size=2, gamma=0.5), 1))
    assert flat(ours({"name": "falling"})) == flat(theirs(own("CosineAnnealingLR", T_max=STEPS), 1))


def test_what_a_scheduler_cannot_compute_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="OneCycleLR refuses these options"):
        ours({"name": "OneCycleLR", "max_lr": 0.9, "pct_start": 0.1}, steps=10)  # torch divides by zero


@pytest.mark.parametrize("name", BY_STEP)
def test_a_rate_for_all_groups_is_said(name: str) -> None:
    schedule = build_schedule({"name": name, **BY_STEP[name]}, groups(), PER_EPOCH, STEPS)
    assert "schedule=one_cycle keeps their proportions" in schedule.notes[0]
    alone = SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5, momentum=0.9)
    assert build_schedule({"name": name, **BY_STEP[name]}, alone, PER_EPOCH, STEPS).notes == []


def test_a_plateau_of_the_wrong_kind_is_said(small_config: Callable[..., Config]) -> None:
    words = ["schedule=torch", "schedule.name=ReduceLROnPlateau"]

    def notes(*more: str) -> list[str]:
        job = build(small_config(*words, *more))
        job.close()
        return [note for note in job.notes if "ReduceLROnPlateau" in note]

    assert "while accuracy improves, since higher is better; set ++schedule.mode=max" in notes()[0]
    assert notes("++schedule.mode=max") == notes("checkpoint.monitor=loss") == []


def test_a_run_s_rates_are_torch_s_with_accumulation(small_config: Callable[..., Config], tmp_path: Path) -> None:
    words = ["schedule=torch", "schedule.name=OneCycleLR", "+schedule.max_lr=0.01", "accumulate_steps=2", "log_every=1"]
    config = small_config(*words, "optimizer=adamw", "epochs=4")
    train_run(config, words, "python -m expkit.run …")
    lines = (next((tmp_path / "outputs").glob("*/metrics.jsonl"))).read_text().splitlines()
    points = [point for point in map(json.loads, lines) if point.get("kind") == "step"]
    rates = {point["step"]: point["lr"] for point in points}
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])
    scheduler = lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=8)  # 3 batches are 2 updates an epoch
    for step in range(1, 8):
        scheduler.step()
        assert rates[step] == pytest.approx(optimizer.param_groups[0]["lr"])
    assert rates[8] == rates[7]  # where torch's would rise again
