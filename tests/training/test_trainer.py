"""The loop: what it computes against a loop by hand, what it says, and how it goes on."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from expkit.config.hydra_loader import Config
from expkit.core.errors import ConfigError
from expkit.loggers.base import Logger, Point
from expkit.runs.build import build
from expkit.training.non_finite import TrainingDiverged
from expkit.training.trainer import Trainer
from tests.checkpoints.states import write_checkpoint

Compose = Callable[..., Config]
PLAIN = ["model=torchvision", "model.name=alexnet", "+model.dropout=0.0", "transforms.image_size=64"]


class Heard(Logger):
    """Keeps what it is told."""

    direct = True

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.messages: list[str] = []

    def point(self, point: Point) -> None:
        self.points.append(point)

    def message(self, text: str) -> None:
        self.messages.append(text)


def trainer_of(config: Config, *loggers: Logger) -> Trainer:
    trainer = build(config).trainer
    trainer.observers.logger.attach(list(loggers))
    return trainer


def weights(trainer: Trainer) -> torch.Tensor:
    return torch.cat([value.flatten().float() for value in trainer.state.model.state_dict().values()])


def test_a_step_is_what_a_loop_by_hand_does(small_config: Compose) -> None:
    config = small_config("optimizer=sgd", "optimizer.lr=0.1", "schedule=constant", "max_steps=2", "clip_grad_norm=0.5")
    ours, hand = trainer_of(config), trainer_of(config)
    model = hand.state.model
    optimizer = torch.optim.SGD(
        [
            {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
            {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.0001},
        ],
        lr=0.1,
        momentum=0.9,
    )
    model.train()
    for batch in list(hand.train_loader.epoch(0))[:2]:
        optimizer.zero_grad()
        logits = model(hand.step.normalize(batch.images))  # plain layout: see `_corrupts_memory` in placement.py
        torch.nn.functional.cross_entropy(logits, batch.targets).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
    ours.run()
    assert torch.allclose(weights(ours), weights(hand), atol=1e-6)


def test_accumulated_batches_are_one_large_batch(small_config: Compose) -> None:
    small = [*PLAIN, "dataset.train_images=32", "optimizer=sgd", "optimizer.lr=0.01", "max_steps=2"]
    large = trainer_of(small_config(*small, "batch_size=16"))
    split = trainer_of(small_config(*small, "batch_size=8", "accumulate_steps=2"))
    large.run()
    split.run()
    assert large.state.position.step == split.state.position.step == 2
    assert torch.allclose(weights(large), weights(split), atol=1e-6)


def test_a_logger_that_fails_is_named_once_and_changes_nothing(small_config: Compose) -> None:
    class Broken(Logger):
        direct = True

        def point(self, point: Point) -> None:
            raise OSError("disk full")

    heard = Heard()
    with_it, without = trainer_of(small_config("log_every=1"), Broken(), heard), trainer_of(small_config())
    with_it.run()
    without.run()
    assert torch.equal(weights(with_it), weights(without))
    assert [text for text in heard.messages if "Broken failed" in text] == [
        "warning: Broken failed and is left out: OSError: disk full"
    ]


def test_a_run_at_chance_says_so_once(small_config: Compose) -> None:
    heard = Heard()
    trainer = trainer_of(small_config("optimizer.lr=0.0", "epochs=3"), heard)
    trainer.state.model[-1].weight.data.zero_()
    trainer.state.model[-1].bias.data.zero_()
    trainer.run()
    assert len([text for text in heard.messages if "nothing is learned" in text]) == 1
    assert trainer.state.position.scores["train/loss"] == pytest.approx(math.log(5))


def test_a_loss_that_is_no_number_stops_the_run(small_config: Compose) -> None:
    with pytest.raises(TrainingDiverged, match=r"the loss became (nan|inf).*lower optimizer.lr"):
        trainer_of(small_config("optimizer=sgd", "optimizer.lr=1e20", "schedule=constant", "log_every=1")).run()


def test_an_epoch_is_as_long_as_its_sampler_says(small_config: Compose) -> None:
    heard = Heard()
    weighted = ["sampler=weighted", "sampler.class_weights={star: 3}", "sampler.num_samples=24"]
    trainer = trainer_of(small_config(*weighted, "batch_size=8", "log_every=1"), heard)
    trainer.run()
    assert (trainer.length.steps_per_epoch, trainer.state.position.step) == (3, 6)
    assert [point.step for point in heard.points if point.kind == "step"] == [1, 2, 3, 4, 5, 6]


def test_restored_fused_state_has_the_layout_of_its_weights(small_config: Compose) -> None:
    """A fused update walks through weight and state as they lie in memory; files hold plain layout."""
    config = small_config("epochs=1", "schedule=constant")
    first, second = trainer_of(config), trainer_of(config)
    assert first.state.optimizer.defaults["fused"]
    first.run()
    state = first.state_dict()
    for moments in state["optimizer"]["state"].values():
        moments["exp_avg"] = moments["exp_avg"].contiguous()
    second.load_state_dict(state)
    for weight, moments in second.state.optimizer.state.items():
        assert moments["exp_avg"].stride() == weight.stride()


def checkpoint_of(trainer: Trainer, path: Path, **facts: Any) -> Path:
    write_checkpoint(path, trainer.state_dict(), trainer.state.facts | {"epoch": 1, "step": 1} | facts)
    return path


def test_weights_are_taken_from_a_checkpoint(small_config: Compose, tmp_path: Path) -> None:
    first = trainer_of(small_config("seed=1"))
    path = checkpoint_of(first, tmp_path / "c.safetensors")
    second = trainer_of(small_config("seed=2", f"checkpoint.init_from={path}"))
    assert torch.equal(weights(first), weights(second))
    assert second.state.position.step == 0


@pytest.mark.parametrize(
    ("override", "facts", "sentence"),
    [
        (
            "seed=0",
            {"class_names": ["cat", "dog"]},
            "the classes differ: only .* has cat, dog; only the data has ci",
        ),
        ("model.width=8", {}, "does not fit small_resnet: 0.weight is .4, 3, 3, 3. there and .8, 3, 3, 3. here"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    override: str, facts: dict[str, Any], sentence: str, small_config: Compose, tmp_path: Path
) -> None:
    path = checkpoint_of(trainer_of(small_config()), tmp_path / "c.safetensors", **facts)
    config = small_config(override, f"checkpoint.resume={path}", "checkpoint.force=true")
    with pytest.raises(ConfigError, match=sentence):
        build(config)
