"""Gradual unfreezing: which layers move in which epoch."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from expkit.config.hydra_loader import Config
from expkit.core.errors import ConfigError
from expkit.training.trainer import Trainer
from tests.training.test_trainer import trainer_of


def test_layers_move_from_the_head_down(small_config: Callable[..., Config], monkeypatch: Any) -> None:
    moved: list[set[str]] = []
    train = Trainer.train_epoch

    def training(trainer: Trainer) -> Any:
        before = {name: value.clone() for name, value in trainer.state.model.state_dict().items()}
        scores = train(trainer)
        after = trainer.state.model.state_dict()
        moved.append({name for name, value in before.items() if not torch.equal(value, after[name])})
        return scores

    monkeypatch.setattr(Trainer, "train_epoch", training)
    trainer = trainer_of(small_config("epochs=4", "++optimizer.unfreeze_every=2", "checkpoint=none"))
    trainer.run()
    assert trainer.state.unfreezing is not None
    names = {parameter: name for name, parameter in trainer.state.model.named_parameters()}
    layers = [{names[parameter] for parameter in layer} for layer in trainer.state.unfreezing.layers]
    parameters = [{name for name in names.values() if name in epoch} for epoch in moved]
    assert parameters[0] == parameters[1] == layers[-1]
    assert parameters[2] == parameters[3] == layers[-1] | layers[-2]
    below = {f"{name.rpartition('.')[0]}.running_mean" for layer in layers[:-2] for name in layer}
    assert not below & moved[3]  # the statistics of what is frozen rest, too


def test_what_the_config_freezes_stays_frozen(small_config: Callable[..., Config]) -> None:
    trainer = trainer_of(small_config("model=resnet18", "model.freeze=[conv1.*]", "++optimizer.unfreeze_every=0.01"))
    assert trainer.state.unfreezing is not None
    trainer.state.unfreezing.before_epoch(1)
    frozen = [name for name, value in trainer.state.model.named_parameters() if not value.requires_grad]
    assert frozen == ["conv1.weight"]


def test_its_range_is_checked(small_config: Callable[..., Config]) -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.unfreeze_every: takes epochs above 0"):
        trainer_of(small_config("optimizer.unfreeze_every=0"))
