"""Freezing and initialisation."""

from typing import get_args

import pytest
import torch

from expkit.config.registry import models
from expkit.core.errors import ConfigError
from expkit.models import ModelOptions, prepare, training_mode
from expkit.models.prepare import Init, freeze


def test_frozen_parts_stay_as_they_are() -> None:
    model = models.build({"name": "resnet18"}, num_classes=3)
    freeze(model, ["layer1.*", "bn1.*", "conv1.*"])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    training_mode(model)
    assert model.layer2[0].bn1.training
    assert not model.layer1[0].bn1.training
    optimizer = torch.optim.SGD([one for one in model.parameters() if one.requires_grad], lr=0.1)
    model(torch.randn(2, 3, 64, 64)).square().sum().backward()
    optimizer.step()
    changed = {name.split(".")[0] for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"layer2", "layer3", "layer4", "fc"}


def test_a_pattern_that_matches_nothing_names_a_near_one() -> None:
    model = models.build({"name": "resnet18"}, num_classes=3)
    with pytest.raises(ConfigError, match=r"model.freeze: 'fc.weigth' matches no parameter; did you mean 'fc.weight'"):
        freeze(model, ["fc.weigth"])


def test_the_name_of_a_part_is_completed() -> None:
    model = models.build({"name": "squeezenet1_1"}, num_classes=3)
    with pytest.raises(ConfigError, match=r"'features' matches no parameter; did you mean 'features\.\*'"):
        freeze(model, ["features"])


@pytest.mark.parametrize("method", get_args(Init))
@pytest.mark.parametrize("name", ["squeezenet1_1", "small_resnet"])
def test_with_every_init_the_signal_stays_finite(method: Init, name: str) -> None:
    torch.manual_seed(0)
    model = prepare(models.build({"name": name}, num_classes=3), ModelOptions(init=method), pretrained=False)
    logits = model(torch.randn(2, 3, 64, 64))
    assert 0 <= float(logits.abs().max().detach()) < 100
    logits.sum().backward()
    assert all(bool(parameter.grad.isfinite().all()) for parameter in model.parameters() if parameter.grad is not None)


def test_init_leaves_the_head_alone() -> None:
    torch.manual_seed(0)
    model = models.build({"name": "squeezenet1_1"}, num_classes=3)
    head = model.classifier[1].weight.clone()
    prepare(model, ModelOptions(init="kaiming_normal"), pretrained=False)
    assert torch.equal(model.classifier[1].weight, head)
    first = model.features[0].weight
    assert float(first.detach().std()) == pytest.approx((2 / (3 * 9)) ** 0.5, rel=0.05)  # He et al. 2015, equation 10


def test_init_of_pretrained_weights_is_refused() -> None:
    with pytest.raises(ConfigError, match="would overwrite the pretrained weights"):
        prepare(torch.nn.Linear(1, 1), ModelOptions(init="orthogonal"), pretrained=True)
