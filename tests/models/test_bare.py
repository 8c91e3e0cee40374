"""The same network without its weights: what a checkpoint of a fine-tuned model is read into, with no download."""

from typing import Any

import pytest
import torch

from expkit.config.registry import models
from expkit.models.pretrained import without_pretrained
from tests.models.test_pretrained import Save, original, save

__all__ = ["save"]  # a fixture

NODES = [
    {"name": "googlenet"},
    {"name": "googlenet", "aux_logits": True},
    {"name": "inception_v3"},
    {"name": "inception_v3", "aux_logits": False},
    {"name": "resnet18"},
    {"name": "squeezenet1_1", "dropout": 0.2},
]


@pytest.mark.filterwarnings("ignore:auxiliary heads in the pretrained googlenet")
@pytest.mark.parametrize("node", NODES, ids=str)
def test_it_computes_what_the_fine_tuned_network_does(save: Save, node: dict[str, Any]) -> None:
    save(node["name"], original(node["name"]))
    tuned = models.build(node | {"weights": "DEFAULT"}, num_classes=3).eval()
    bare = models.build(without_pretrained(node | {"weights": "DEFAULT"}), num_classes=3).eval()
    bare.load_state_dict(tuned.state_dict())  # raises where one has layers that the other lacks
    images = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        assert torch.equal(bare(images), tuned(images))


def test_the_image_size_of_the_weights_is_kept() -> None:
    node = without_pretrained({"name": "vit_b_16", "weights": "IMAGENET1K_SWAG_E2E_V1", "image_size": None})
    assert node == {"name": "vit_b_16", "image_size": 384}
    assert without_pretrained({"name": "maxvit_t", "weights": "DEFAULT"})["input_size"] == [224, 224]


def test_a_node_without_weights_stays() -> None:
    assert without_pretrained({"name": "small_cnn", "width": 3}) == {"name": "small_cnn", "width": 3}
    assert without_pretrained({"name": "resnet18", "weights": None})["weights"] is None
