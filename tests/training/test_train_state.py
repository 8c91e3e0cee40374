"""What a checkpoint holds: keys that never change, and a state that is the same once it is loaded again."""

from collections.abc import Callable
from pathlib import Path

import torch

from expkit.checkpoints.manager import CheckpointOptions, Checkpoints
from expkit.config.hydra_loader import Config
from expkit.config.run_options import RunOptions
from expkit.training.train_state import RunLength, run_length
from tests.training.test_trainer import trainer_of, weights

Compose = Callable[..., Config]
ALL = ["ema_decay=0.9", "early_stopping_patience=3", "device.precision=fp16", "epochs=1"]


def test_the_keys_of_a_state_are_those_of_old_checkpoints(small_config: Compose) -> None:
    plain = ["model", "optimizer", "schedule", "metrics"]
    position = ["epoch", "batch", "step", "scores", "passed_over", "watched", "metrics_bytes"]
    assert list(trainer_of(small_config()).state_dict()) == plain + position
    assert {*trainer_of(small_config(*ALL)).state_dict()} == {*plain, "average", "stopping", "scaler", *position}
    micro_batches = trainer_of(small_config("model=squeezenet", "model.dropout=0.0", "device.micro_batch=auto"))
    assert micro_batches.state_dict()["pieces"] == {"size": None}


def test_a_loaded_state_is_the_saved_one(small_config: Compose) -> None:
    config = small_config(*ALL)
    first, second = trainer_of(config), trainer_of(config)
    first.run()
    first.state.position.skipped.add((0, 1))
    second.load_state_dict(first.state_dict())
    assert torch.equal(weights(first), weights(second))
    assert second.state.position == first.state.position
    assert second.state.state_dict()["passed_over"] == [[0, 1]]
    assert second.saved == first.state.position.place


def test_a_run_is_as_long_as_its_options_say() -> None:
    assert run_length(10, RunOptions(epochs=3, accumulate_steps=4)) == RunLength(10, 3, 9)
    assert run_length(10, RunOptions(epochs=3, limit_train_batches=5, max_steps=7)) == RunLength(5, 5, 7)


def test_a_run_that_is_to_stop_ends_within_its_epoch(small_config: Compose) -> None:
    trainer = trainer_of(small_config("epochs=3"))
    trainer.stop_at(2)
    trainer.run()
    assert trainer.is_over
    assert trainer.state.position.place == (0, 2, 2)


def test_a_rank_that_writes_nothing_knows_when_a_checkpoint_is_due(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints", CheckpointOptions(every=2, every_steps=3))
    assert [epoch for epoch in range(1, 5) if checkpoints.due_after(epoch, is_last=False)] == [2, 4]
    assert [step for step in range(1, 7) if checkpoints.due_at(step)] == [3, 6]
    assert not checkpoints.save({}, {}, {})
    assert checkpoints.newest() is None
    checkpoints.resume({})
    checkpoints.close()
    assert not any(tmp_path.iterdir())
