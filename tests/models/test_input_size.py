"""The trial of a model on images of a size, before training."""

import warnings

import pytest
import torch
from torch import Tensor, nn

from expkit.config.registry import models
from expkit.core.errors import ConfigError
from expkit.models import check_input


@pytest.mark.parametrize(
    ("name", "size", "sentence"),
    [
        ("squeezenet1_1", 8, r"8×8 pixels \(.*too small\); 28 or more fits, e.g. transforms.image_size=28$"),
        ("vit_b_16", 64, r"64×64 .*Expected 224.*; 224 fits: transforms.image_size=224, or, .*model.image_size=64$"),
        ("vit_b_16", 100, r"100×100 .*Expected 224.*; 224 fits: transforms.image_size=224$"),
        ("maxvit_t", 256, r"256×256 .*; 224 fits: transforms.image_size=224$"),
        ("inception_v3", 96, r"96×96 .*; 299 or more fits, e.g. transforms.image_size=299$"),
        ("alexnet", 32, r"; 64 or more fits, e.g. transforms.image_size=64$"),
    ],
)
def test_a_size_that_does_not_fit_names_one_that_does(name: str, size: int, sentence: str) -> None:
    with torch.device("meta"):
        model = models.build({"name": name}, num_classes=3)
    with pytest.raises(ConfigError, match=f"^transforms.image_size: {name} cannot take images of .*{sentence}"):
        check_input(model, name, size, size, (3,))


def test_auxiliary_heads_need_larger_images() -> None:
    with torch.device("meta"):
        model = models.build({"name": "inception_v3", "aux_logits": False}, num_classes=3)
    check_input(model, "inception_v3", 96, 96, (3,))


def test_nothing_of_the_model_changes() -> None:
    model = models.build({"name": "resnet18"}, num_classes=3).train()
    model.layer1.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    drawn = torch.get_rng_state()
    check_input(model, "resnet18", 64, 48, (3,))
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training
    assert not model.layer1[0].training
    assert next(model.parameters()).device.type == "cpu"


def test_a_wrong_number_of_classes_is_no_matter_of_size() -> None:
    with torch.device("meta"):
        model = models.build({"name": "resnet18"}, num_classes=1000)
    with pytest.raises(
        ConfigError, match=r"^model: mine cannot be used .* shape \(2, 1000\) for 2 images and 3 classes"
    ):
        check_input(model, "mine", 64, 64, (3,))


class Scaled(nn.Module):
    """A model that asks a tensor for its value, which the meta device cannot give."""

    def __init__(self, as_mapping: bool = False) -> None:
        super().__init__()
        self.head = nn.Linear(3, 3)
        self.as_mapping = as_mapping

    def forward(self, images: Tensor) -> Tensor | dict[str, Tensor]:
        logits: Tensor = self.head(images.mean((2, 3)) / max(float(images.max()), 1.0))
        return {"logits": logits} if self.as_mapping else logits


def test_a_model_that_the_meta_device_cannot_follow_is_tried_with_numbers() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_input(Scaled(), "scaled", 8, 8, (3,))


def test_a_model_without_logits_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^model: scaled cannot be used .*gives a dict, not logits"):
        check_input(Scaled(as_mapping=True), "scaled", 8, 8, (3,))
