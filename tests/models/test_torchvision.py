"""Every family of torchvision, with the data's number of classes; and the options each of them offers."""

from typing import Any

import pytest
import torch
import yaml
from torchvision import models as zoo

from expkit.config.conf_folder import conf_folder
from expkit.config.registry import models
from expkit.core.errors import ConfigError
from expkit.models import check_input, replace_head

# The smallest member of each family, and the size of its images.
FAMILIES = {
    "alexnet": 224, "convnext_tiny": 224, "densenet121": 224, "efficientnet_b0": 224, "efficientnet_v2_s": 224,
    "googlenet": 224, "inception_v3": 299, "maxvit_t": 224, "mnasnet0_5": 224, "mobilenet_v2": 224,
    "mobilenet_v3_small": 224, "regnet_x_400mf": 224, "regnet_y_400mf": 224, "resnet18": 224, "resnext50_32x4d": 224,
    "shufflenet_v2_x0_5": 224, "squeezenet1_1": 224, "swin_t": 224, "swin_v2_t": 256, "vgg11": 224, "vgg11_bn": 224,
    "vit_b_16": 224, "wide_resnet50_2": 224,
}  # fmt: skip
# What to give for options whose default is the builder's own.
SAMPLES = {"dropout": 0.1, "stochastic_depth_prob": 0.1, "image_size": 64, "input_size": [224, 224]}


def without_values(name: str) -> torch.device:
    """Where an architecture can be built quickly: not regnet, which computes its widths with tensors."""
    return torch.device("cpu" if name.startswith("regnet") else "meta")


@pytest.mark.parametrize(("name", "size"), FAMILIES.items())
def test_every_family_gives_the_data_s_classes(name: str, size: int) -> None:
    with without_values(name):
        model = models.build({"name": name}, num_classes=3)
        quiet = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        pretrained_like = zoo.get_model(name, weights=None, num_classes=1000, **quiet)
        replaced = replace_head(pretrained_like, 1000, 3)
    check_input(model, name, size, size, (3,))
    check_input(pretrained_like, name, size, size, (3,))
    assert len(replaced) == {"inception_v3": 2, "googlenet": 3}.get(name, 1)


@pytest.mark.parametrize("name", ["efficientnet_b0", "mnasnet0_5", "resnet18", "shufflenet_v2_x0_5", "squeezenet1_1"])
def test_real_images_give_the_data_s_classes(name: str) -> None:
    model = models.build({"name": name}, num_classes=3)
    assert model(torch.rand(2, 3, 64, 64)).shape == (2, 3)
    assert model.eval()(torch.rand(2, 3, 64, 64)).shape == (2, 3)


def test_a_vision_transformer_can_be_built_for_small_images() -> None:
    model = models.build({"name": "vit_b_16", "image_size": 32}, num_classes=3)
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, 3)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_option_is_accepted_by_the_builder(name: str) -> None:
    node: dict[str, Any] = {"name": name}
    for option in models.options(name).values():
        assert not option.required, f"{name} asks for {option.name}"
        if option.name in SAMPLES or option.default is not None:
            node[option.name] = SAMPLES.get(option.name, option.default)
    node["freeze"] = []
    with without_values(name):
        models.build(node, num_classes=3)


def test_the_builder_s_own_values_are_kept() -> None:
    with torch.device("meta"):
        assert models.build({"name": "efficientnet_b4", "dropout": None}, num_classes=3).classifier[0].p == 0.4
        assert models.build({"name": "efficientnet_b4", "dropout": 0.1}, num_classes=3).classifier[0].p == 0.1


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        ({"name": "resnet18", "groups": 2}, "BasicBlock only supports groups=1"),
        ({"name": "vit_b_16", "image_size": 100}, "indivisible by patch size"),
        ({"name": "resnet50", "width_per_group": -3}, "negative dimension"),
        ({"name": "efficientnet_b0", "dropout": 7.0}, "dropout probability has to be between 0 and 1"),
    ],
)
def test_options_that_torchvision_refuses_are_the_user_s_fault(node: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=f"^model: {node['name']} refuses these options: .*{reason}"):
        models.build(node, num_classes=3)


def test_structure_and_runtime_facts_are_no_options() -> None:
    assert not {"num_classes", "progress", "layers", "block", "norm_layer"} & models.options("resnet18").keys()
    assert not {"version"} & models.options("squeezenet1_1").keys()


def test_all_classification_models_are_there_and_no_others() -> None:
    ours = {name for name in models.names() if models.entry(name).source == "torchvision"}
    assert ours == set(zoo.list_models(module=zoo))
    assert {"deeplabv3_resnet50", "fasterrcnn_resnet50_fpn", "quantized_resnet18", "r3d_18", "raft_small"}.isdisjoint(
        models.names()
    )


def test_each_is_described_in_a_line() -> None:
    docs = {name: models.entry(name).doc for name in models.names()}
    assert docs["resnet18"] == "ResNet-18 from Deep Residual Learning for Image Recognition."
    assert not [name for name, doc in docs.items() if not doc or "<" in doc.replace("<0.5MB", "") or "`" in doc]


@pytest.mark.parametrize("path", sorted(conf_folder().glob("model/*.yaml")), ids=lambda path: path.stem)
def test_every_yaml_builds(path: Any) -> None:
    node = yaml.safe_load(path.read_text())
    if path.stem == "torchvision":
        node["name"] = "resnet34"
    if path.stem == "timm":
        pytest.skip("timm's models have tests of their own: tests/models/test_timm_zoo.py")
    assert {"freeze", "init"} <= node.keys()
    assert ("weights" in node) == (models.entry(node["name"]).source == "torchvision")
    with without_values(node["name"]):
        models.build(node, num_classes=3)


def test_squeezenet_without_the_relu_behind_its_head() -> None:
    with_relu = models.build({"name": "squeezenet1_1"}, num_classes=3).eval()
    without = models.build({"name": "squeezenet1_1", "head_relu": False}, num_classes=3).eval()
    without.load_state_dict(with_relu.state_dict())
    images = torch.randn(8, 3, 64, 64)
    assert with_relu(images).min() >= 0
    without.classifier[1].bias.data -= 10  # type: ignore[union-attr, index, operator]
    assert without(images).max() < 0
