"""Each optimizer updates shares of weights as it updates whole ones, and takes up what another strategy began."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, multiprocessing, nn

from expkit.config.registry import optimizers
from expkit.devices.fsdp import shard_model, shard_optimizer
from expkit.devices.process_group import STORE, Ranks
from expkit.training.optimizers import build_optimizer, keep_layout

NODES: list[dict[str, Any]] = [
    {"name": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    {"name": "sgd", "foreach": True},
    {"name": "sgd", "no_decay": ["norm"], "weight_decay": 0.1},
    {"name": "adam", "amsgrad": True},
    {"name": "adam", "fused": True},
    {"name": "adamw", "groups": [{"pattern": "0.*", "lr": 0.001}]},
    {"name": "adamw", "fused": False},
    {"name": "rmsprop", "momentum": 0.5, "centered": True},
    *[{"name": name} for name in ("adagrad", "adadelta", "adamax", "nadam", "radam", "rprop", "asgd")],
]


def model_of(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    rest = (nn.GroupNorm(1, 3), nn.ReLU(), nn.Flatten(), nn.Linear(75, 5))  # no size that two divides
    return nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), *rest).to(memory_format=torch.channels_last)


def images(step: int) -> Tensor:
    return torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(step))


def train(model: nn.Module, optimizer: torch.optim.Optimizer, first: int, last: int) -> None:
    for step in range(first, last):
        optimizer.zero_grad()
        model(images(step)).square().mean().backward()
        optimizer.step()


def compare(node: dict[str, Any], ranks: Ranks) -> None:
    """Take three steps with shares and with the whole, then two with shares of the whole's state."""
    whole, shared = model_of(0), model_of(0)
    optimizer, of_whole = build_optimizer({"lr": 0.01, **node}, whole), build_optimizer({"lr": 0.01, **node}, shared)
    names = {id(weight): name for name, weight in shared.named_parameters()}
    shard_model(shared, ranks, "cpu")
    of_shares = shard_optimizer(of_whole, names, shared, ranks)
    train(whole, optimizer, 0, 3)
    train(shared, of_shares, 0, 3)
    assert_same(whole, shared, ranks)
    shared.load_state_dict(whole.state_dict())
    of_shares.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    keep_layout(of_shares)
    train(whole, optimizer, 3, 5)
    train(shared, of_shares, 3, 5)
    assert_same(whole, shared, ranks)
    state = of_shares.state_dict()  # whole on the first rank, for a checkpoint
    if ranks.is_first:
        optimizer.load_state_dict(state)
        train(whole, optimizer, 5, 6)


def assert_same(whole: nn.Module, shared: nn.Module, ranks: Ranks) -> None:
    state = shared.state_dict()
    if ranks.is_first:
        for name, value in whole.state_dict().items():
            torch.testing.assert_close(state[name], value, rtol=1e-5, atol=1e-6)


def rank_of_two(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    ranks = Ranks(rank, 2, rank, 2, timeout=60)
    ranks.join("gloo")
    for node in NODES:
        try:
            compare(node, ranks)
        except Exception as error:
            raise AssertionError(node) from error
    ranks.wait()
    torch.distributed.destroy_process_group()


def test_every_optimizer_updates_shares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {node["name"] for node in NODES} == {*optimizers.names()} - {"adafactor", "torch"}
    monkeypatch.setenv(STORE, str(tmp_path))
    multiprocessing.spawn(rank_of_two, (str(tmp_path),), nprocs=2)
