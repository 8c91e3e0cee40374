"""One model over several devices; torch's meta device stands for the other one where there is no GPU."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from expkit.config.hydra_loader import Config
from expkit.core.errors import ConfigError
from expkit.devices import Split
from expkit.devices.model_parallel import balanced_table, place_layers
from expkit.runs.build import build

CPU, META = torch.device("cpu"), torch.device("meta")


def network() -> nn.Module:
    layers = nn.Sequential(nn.Linear(10, 10), nn.ReLU(), nn.Linear(10, 10), nn.Linear(10, 20))
    return nn.ModuleDict({"body": layers, "head": nn.Linear(20, 2)})


def test_layers_are_shared_out_by_size_and_in_order() -> None:
    table = balanced_table(network(), (CPU, META))
    assert list(table) == ["body.0", "body.1", "body.2", "body.3", "head"]
    assert [device.type for device in table.values()] == ["cpu", "cpu", "cpu", "meta", "meta"]


def test_what_a_part_is_given_follows_it() -> None:
    model = network()
    assert place_layers(model, Split((CPU, META), {"head": "meta"})) == {"head": META}
    assert {weight.device.type for weight in model["head"].parameters()} == {"meta"}  # type: ignore[index,operator]
    assert model["head"](torch.zeros(3, 20)).device == META  # type: ignore[index,operator]
    assert model["body"](torch.zeros(3, 10)).device == CPU  # type: ignore[index,operator]


def test_a_part_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"device.table: the model has no part 'haed'; did you mean 'head'"):
        place_layers(network(), Split((CPU,), {"haed": "cpu"}))


def test_a_split_run_is_the_run_of_one_device(small_config: Callable[..., Config]) -> None:
    more = ["model=squeezenet", "transforms.image_size=64", "model.dropout=0.0", "max_steps=2", "clip_grad_norm=1"]
    one = build(small_config(*more, "ema_decay=0.9"))
    two = build(small_config(*more, "ema_decay=0.9", "device=split", "device.devices=[cpu,cpu]"))
    assert one.trainer.run() == two.trainer.run()
