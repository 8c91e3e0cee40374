"""What is promised of every task: the same run for any number of workers, ranks and interruptions."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from expkit.config.compose import compose_one, plain
from expkit.config.hydra_loader import Config
from expkit.runs.build import build
from expkit.training.trainer import Trainer
from tests.devices.comparing import by_one, by_ranks, last_checkpoint
from tests.devices.starting import points
from tests.tasks.tasks import TASKS

IS_LONG = os.environ.get("EXPKIT_LONG") == "1"
Compose = Callable[..., Config]
RANDOM = "transforms.train=[{name: RandomCrop, size: 24}, {name: RandomHorizontalFlip}]"  # moves each mask, too
EVAL = "transforms.eval=[{name: CenterCrop, size: 24}]"


@pytest.fixture
def compose(tmp_path: Path) -> Compose:
    """Return a function that composes the config of a small, quick run."""

    def build(*overrides: str) -> Config:
        shapes = [f"dataset.root={tmp_path}/shapes", "dataset.size=32", "dataset.train_images=24"]
        common = [*shapes, "dataset.val_images=10", "epochs=2", "batch_size=8", "logger=none", "log_every=1"]
        return plain(compose_one([*common, f"output_dir={tmp_path}/outputs", "dataset.num_workers=0", *overrides]))

    return build


def trained(config: Config, state: dict[str, Any] | None = None, until: int | None = None) -> Trainer:
    trainer = build(config).trainer
    if state is not None:
        trainer.load_state_dict(state)
    if until is not None:
        trainer.stop_at(until)
    trainer.run()
    return trainer


def assert_equal(one: Trainer, other: Trainer) -> None:
    """The same weights and scores, bit for bit."""
    theirs = other.state.model.state_dict()
    for name, value in one.state.model.state_dict().items():
        assert torch.equal(value, theirs[name]), name
    assert one.state.position.scores == other.state.position.scores


@pytest.mark.parametrize("task", TASKS)
def test_workers_and_an_interruption_change_nothing(task: str, compose: Compose) -> None:
    overrides = [*TASKS[task], RANDOM, EVAL]
    whole = trained(compose(*overrides))
    assert whole.state.position.step == 6
    assert_equal(whole, trained(compose(*overrides, "dataset.num_workers=2")))
    cut = trained(compose(*overrides), until=4)  # within the second epoch
    assert_equal(whole, trained(compose(*overrides), cut.state_dict()))


@pytest.mark.parametrize("task", TASKS if IS_LONG else ["segmentation"])
def test_two_ranks_do_the_run_of_one(task: str, tmp_path: Path) -> None:
    plain_model = ["model=small_cnn"] if task == "regression" else TASKS[task][1:]
    plain_steps = ["optimizer=sgd", "optimizer.lr=0.01"]  # Adam makes much of the last digit of a gradient near 0
    more = [*plain_model, *plain_steps, "dataset.train_images=33", "model.width=4"]  # one rank has none at last
    overrides = [TASKS[task][0], *more]
    one, two = by_one(tmp_path, *overrides), by_ranks(tmp_path, *overrides)
    for ours, theirs in zip(points(one), points(two), strict=True):
        for name in ours.keys() & {"loss", "train/loss", "val/loss"}:
            assert theirs[name] == pytest.approx(ours[name], rel=1e-5), name
    theirs = load_file(last_checkpoint(two))
    for name, value in load_file(last_checkpoint(one)).items():
        if name.startswith("model/"):
            assert torch.allclose(theirs[name], value, rtol=1e-4, atol=1e-5), name


def test_micro_batches_add_up(compose: Compose) -> None:
    overrides = ["task=regression", "model=mlp", "model.hidden=[8]", "optimizer=sgd", "loss=huber"]
    whole, cut = (trained(compose(*overrides, *more)) for more in ([], ["device.micro_batch=3"]))
    for name, value in whole.state.model.state_dict().items():
        assert torch.allclose(value, cut.state.model.state_dict()[name], atol=1e-6), name


def test_a_cache_changes_nothing(compose: Compose) -> None:
    overrides = [*TASKS["segmentation"], RANDOM, EVAL]
    assert_equal(trained(compose(*overrides)), trained(compose(*overrides, "dataset.cache=memory")))
