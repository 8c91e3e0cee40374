"""The built-in networks."""

from typing import Any

import pytest
import torch
from torch import nn

from expkit.config.registry import models
from expkit.core.errors import ConfigError


@pytest.mark.parametrize("size", [28, 33, 64])
@pytest.mark.parametrize("name", ["small_resnet", "small_cnn", "mlp"])
def test_images_of_many_sizes_give_logits(name: str, size: int) -> None:
    model = models.build({"name": name, "dropout": 0.5}, num_classes=5)
    assert model(torch.rand(2, 3, size, size + 4)).shape == (2, 5)


@pytest.mark.parametrize("name", ["small_resnet", "small_cnn", "mlp"])
def test_they_learn(name: str) -> None:
    """32 noise images by heart, in 60 steps."""
    torch.manual_seed(0)
    model = models.build({"name": name}, num_classes=4)
    images, targets = torch.randn(32, 3, 28, 28), torch.arange(32) % 4
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        nn.functional.cross_entropy(model(images), targets).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert (model(images).argmax(1) == targets).float().mean() == 1.0


def test_blocks_make_it_deeper() -> None:
    one, three = (models.build({"name": "small_resnet", "blocks": blocks}, num_classes=5) for blocks in (1, 3))
    assert len(three) - len(one) == 6
    assert three(torch.rand(2, 3, 64, 64)).shape == (2, 5)


def test_no_hidden_layer_is_logistic_regression() -> None:
    model = models.build({"name": "mlp", "grid": 4, "hidden": []}, num_classes=5)
    assert [tuple(parameter.shape) for parameter in model.parameters()] == [(5, 48), (5,)]


@pytest.mark.parametrize(
    "node",
    [
        {"name": "small_resnet", "width": 0},
        {"name": "small_resnet", "blocks": 0},
        {"name": "small_resnet", "stem_stride": 0},
        {"name": "small_cnn", "dropout": 1.0},
        {"name": "mlp", "grid": 0},
        {"name": "mlp", "hidden": [0]},
        {"name": "mlp", "dropout": -0.1},
    ],
    ids=str,
)
def test_impossible_values_are_named(node: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"^model\.\w+: expected"):
        models.build(node, num_classes=5)
