"""Groups of parameters by pattern."""

from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer

from expkit.core.errors import ConfigError
from expkit.training.optimizers import build_optimizer


@pytest.fixture
def model() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def decays(optimizer: torch.optim.Optimizer) -> dict[float, int]:
    return {group["weight_decay"]: len(group["params"]) for group in optimizer.param_groups}


def test_norms_and_biases_go_without_decay(model: nn.Module) -> None:
    node: dict[str, Any] = {"name": "sgd", "lr": 0.1, "weight_decay": 0.01, "no_decay": ["norm", "bias"]}
    assert decays(build_optimizer(node, model)) == {0.01: 2, 0.0: 4}


def test_norm_layers_alone_go_without_decay(model: nn.Module) -> None:
    node: dict[str, Any] = {"name": "sgd", "lr": 0.1, "weight_decay": 0.01, "no_decay": ["norm_layers"]}
    assert decays(build_optimizer(node, model)) == {0.01: 4, 0.0: 2}


def test_layer_decay_is_beit_s() -> None:
    """Layer n of N has the rate of the head times decay ** (N - n), head and embeddings being layers too."""
    model = VisionTransformer(32, 16, num_layers=4, num_heads=2, hidden_dim=8, mlp_dim=8, num_classes=3)
    node = {"name": "adamw", "lr": 0.01, "no_decay": ["norm", "bias"], "layer_decay": 0.65}
    optimizer = build_optimizer(node, model)
    rates = {id(value): group["lr"] for group in optimizer.param_groups for value in group["params"]}
    for name, value in model.named_parameters():
        layer = 5 if name.startswith("heads") else 0
        if name.startswith("encoder.layers"):
            layer = 1 + int(name.removeprefix("encoder.layers.encoder_layer_")[0])
        if not name.startswith("encoder.ln"):  # of the last block, by our count
            assert rates[id(value)] == pytest.approx(0.01 * 0.65 ** (5 - layer)), name


def test_layer_decay_multiplies_the_rates_of_groups(model: nn.Module) -> None:
    groups = [{"pattern": "0.*", "lr_scale": 0.1}, {"pattern": "3.*", "lr": 0.5}]
    optimizer = build_optimizer({"name": "adamw", "lr": 0.01, "groups": groups, "layer_decay": 0.5}, model)
    # the convolution and its normalisation are one layer below the head
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.0005, 0.5, 0.005])


def test_groups_have_rates_of_their_own(model: nn.Module) -> None:
    groups = [{"pattern": "0.*", "lr_scale": 0.1}, {"pattern": "3.*", "lr": 0.5}]
    optimizer = build_optimizer({"name": "adamw", "lr": 0.01, "groups": groups}, model)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.001, 0.5, 0.01])


def test_frozen_parameters_are_left_out(model: nn.Module) -> None:
    model[0].requires_grad_(False)
    optimizer = build_optimizer({"name": "sgd", "lr": 0.1}, model)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 4
    model.requires_grad_(False)
    with pytest.raises(ConfigError, match="every parameter is frozen"):
        build_optimizer({"name": "sgd", "lr": 0.1}, model)


@pytest.mark.parametrize(
    ("groups", "sentence"),
    [
        ([{"lr": 0.1}], r"optimizer.groups\[0\]: needs a `pattern`"),
        ([{"pattern": "4.*", "lr": 0.1}], r"optimizer.groups\[0\].pattern: '4.\*' matches no trained parameter"),
        ([{"pattern": "0.*", "lr": "fast"}], r"optimizer.groups\[0\].lr: expected a number"),
    ],
)
def test_wrong_groups_are_named(groups: list[dict[str, Any]], sentence: str, model: nn.Module) -> None:
    with pytest.raises(ConfigError, match=sentence):
        build_optimizer({"name": "sgd", "lr": 0.1, "groups": groups}, model)


@pytest.mark.parametrize(
    ("chosen", "fused"), [({}, True), ({"fused": False}, False), ({"foreach": True}, None), ({"name": "adamax"}, None)]
)
def test_all_weights_are_updated_in_one_pass_unless_another_way_is_chosen(
    chosen: dict[str, Any], fused: bool | None, model: nn.Module
) -> None:
    optimizer = build_optimizer({"name": "adamw", **chosen}, model)
    assert optimizer.defaults.get("fused") is fused
    if fused:  # and it is the same update
        plain = torch.optim.AdamW([one.detach().clone().requires_grad_() for one in model.parameters()])
        for one, other in zip(optimizer.param_groups[0]["params"], plain.param_groups[0]["params"], strict=True):
            one.grad = other.grad = torch.randn_like(one)
        for _ in range(3):
            optimizer.step()
            plain.step()
        for one, other in zip(optimizer.param_groups[0]["params"], plain.param_groups[0]["params"], strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("options", [{"momentum": 0.9}, {"momentum": 0.9, "dampening": 0.3}, {}])
def test_weights_may_get_their_first_gradient_late(options: dict[str, Any]) -> None:
    weights = []
    for more in ({}, {"fused": False}):
        torch.manual_seed(0)
        layers = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
        optimizer = build_optimizer({"name": "sgd", "lr": 0.1, "weight_decay": 0.1, **options, **more}, layers)
        for step in range(4):
            layers[0].requires_grad_(step >= 2)
            layers(torch.ones(2, 3)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        weights.append(torch.cat([one.flatten() for one in layers.parameters()]))
    assert torch.allclose(*weights, atol=1e-6)


def test_two_ways_at_once_are_refused(model: nn.Module) -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.foreach: is another way than optimizer\.fused; take one"):
        build_optimizer({"name": "sgd", "fused": True, "foreach": True}, model)
