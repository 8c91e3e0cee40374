"""The layers of known networks, against what fine-tuning recipes call their layers."""

import pytest
import torchvision.models as zoo
from torch import nn

from expkit.training.layer_groups import layers_of


def test_a_vision_transformer_has_its_blocks_between_embeddings_and_head() -> None:
    """As BEiT counts them: layer 0 the embeddings, then the blocks, then the head."""
    model = zoo.VisionTransformer(32, 16, num_layers=4, num_heads=2, hidden_dim=8, mlp_dim=8, num_classes=3)
    layers = layers_of(model)
    assert len(layers) == 4 + 2
    assert sorted(layers[0]) == ["class_token", "conv_proj.bias", "conv_proj.weight", "encoder.pos_embedding"]
    for number in range(4):
        start = f"encoder.layers.encoder_layer_{number}."
        beside = {"encoder.ln.weight", "encoder.ln.bias"} if number == 3 else set()
        assert {name for name in layers[1 + number] if not name.startswith(start)} == beside
    assert layers[-1] == ["heads.head.weight", "heads.head.bias"]


@pytest.mark.parametrize(
    ("name", "count", "second", "last"),
    [
        ("resnet18", 10, "layer1.0.", "fc."),  # the stem, 8 blocks, the head
        ("mobilenet_v3_small", 15, "features.1.", "classifier.3."),
        ("vgg11", 11, "features.3.", "classifier.6."),
        ("squeezenet1_1", 10, "features.3.", "classifier.1."),
        ("convnext_tiny", 23, "features.1.0.", "classifier.2."),
    ],
)
def test_convolutional_networks(name: str, count: int, second: str, last: str) -> None:
    model = zoo.get_model(name)
    layers = layers_of(model)
    assert len(layers) == count
    assert all(parameter.startswith(second) for parameter in layers[1])
    assert all(parameter.startswith(last) for parameter in layers[-1])
    assert sorted(sum(layers, [])) == sorted(dict(model.named_parameters()))  # noqa: RUF017  few of them


def test_a_single_layer() -> None:
    assert layers_of(nn.Linear(2, 2)) == [["weight", "bias"]]
