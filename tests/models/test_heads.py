"""Heads: found, replaced, and what their losses count."""

import pytest
import torch
from torch import nn

from expkit.config.registry import models
from expkit.core.errors import ConfigError
from expkit.models import auxiliary_weight, replace_head


def test_a_fresh_head_is_like_the_old_one_in_all_but_its_outputs() -> None:
    old = nn.Conv2d(8, 10, 1, stride=2, groups=2, bias=False, dtype=torch.float64)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Sequential(old))
    assert replace_head(model, 10, 4) == ["2.0"]
    new = model.get_submodule("2.0")
    assert isinstance(new, nn.Conv2d)
    assert (new.weight.shape, new.bias, new.stride, new.groups) == ((4, 4, 1, 1), None, (2, 2), 2)
    assert new.weight.dtype == torch.float64


def test_a_fresh_head_begins_with_small_logits() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 1000))
    replace_head(model, 1000, 50)
    weight, bias = model[1].weight.detach(), model[1].bias.detach()
    assert float(weight.std()) == pytest.approx(0.01, rel=0.02)
    assert not bias.any()


def test_a_head_with_the_right_outputs_stays() -> None:
    model = nn.Sequential(nn.Linear(4, 10))
    before = model[0]
    assert replace_head(model, 10, 10) == []
    assert model[0] is before


def test_a_model_without_such_a_layer_is_refused() -> None:
    with pytest.raises(ConfigError, match="no layer with 1000 outputs was found"):
        replace_head(nn.Sequential(nn.Linear(4, 10)), 1000, 3)


@pytest.mark.parametrize(
    ("node", "weight"),
    [
        ({"name": "googlenet"}, 0.3),
        ({"name": "googlenet", "aux_logits": False}, None),
        ({"name": "inception_v3"}, 0.4),
        ({"name": "inception_v3", "aux_logits": False}, None),
        ({"name": "resnet18"}, None),
    ],
)
def test_auxiliary_heads_count(node: dict[str, object], weight: float | None) -> None:
    with torch.device("meta"):
        assert auxiliary_weight(models.build(node, num_classes=3)) == weight
