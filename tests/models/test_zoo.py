"""Every family of torchvision, from scratch and pretrained, with the data's number of classes."""

from pathlib import Path

import pytest
import torch
from torchvision import models as zoo

from expkit.models import auxiliary_weight, check_input, pretrained_input
from expkit.models.heads import replace_head
from expkit.models.zoo import find_weights, weights_file
from expkit.registry import ConfigError, models

# The smallest member of each family.
FAMILIES = {
    "alexnet": 224, "convnext_tiny": 224, "densenet121": 224, "efficientnet_b0": 224, "efficientnet_v2_s": 224,
    "googlenet": 224, "inception_v3": 299, "maxvit_t": 224, "mnasnet0_5": 224, "mobilenet_v2": 224,
    "mobilenet_v3_small": 224, "regnet_x_400mf": 224, "regnet_y_400mf": 224, "resnet18": 224, "resnext50_32x4d": 224,
    "shufflenet_v2_x0_5": 224, "squeezenet1_1": 224, "swin_t": 224, "swin_v2_t": 256, "vgg11": 224, "vit_b_16": 224,
    "wide_resnet50_2": 224,
}  # fmt: skip


@pytest.mark.parametrize(("name", "size"), FAMILIES.items())
def test_every_family_gives_the_data_s_classes(name: str, size: int) -> None:
    # Without values where the architecture can be built so: regnet computes its widths with tensors.
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        model = models.build({"name": name}, num_classes=3)
        quiet = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        pretrained_like = zoo.get_model(name, weights=None, num_classes=1000, **quiet)
        replaced = replace_head(pretrained_like, 1000, 3)
    check_input(model, name, size, size, 3)
    check_input(pretrained_like, name, size, size, 3)
    assert len(replaced) == {"inception_v3": 2, "googlenet": 3}.get(name, 1)


def test_all_of_torchvision_is_there() -> None:
    assert set(zoo.list_models(module=zoo)) <= set(models.names())


def test_pretrained_weights_are_loaded_and_the_head_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = weights_file(find_weights("squeezenet1_1", "DEFAULT"))
    path.parent.mkdir(parents=True)
    original = zoo.squeezenet1_1(weights=None)
    torch.save(original.state_dict(), path)
    model = models.build({"name": "squeezenet1_1", "weights": "DEFAULT"}, num_classes=3)
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 3)
    old, new = original.state_dict(), model.state_dict()
    different = [name for name in old if old[name].shape != new[name].shape or not torch.equal(old[name], new[name])]
    assert different == ["classifier.1.weight", "classifier.1.bias"]


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("executed"),)  # type: ignore[return-value]


def test_weights_that_carry_code_do_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    path = weights_file(find_weights("squeezenet1_1", "DEFAULT"))
    path.parent.mkdir(parents=True)
    torch.save({"classifier.1.weight": Payload()}, path)
    with pytest.raises(ConfigError, match="is damaged or is not a plain state dict"):
        models.build({"name": "squeezenet1_1", "weights": "DEFAULT"}, num_classes=3)
    assert not (tmp_path / "executed").exists()


def test_weights_that_do_not_exist_are_named() -> None:
    with pytest.raises(ConfigError, match=r"no weights 'IMAGENET1K_V9'.*did you mean 'IMAGENET1K_V1'"):
        find_weights("resnet18", "IMAGENET1K_V9")


def test_pretrained_input_follows_the_weights() -> None:
    spec = pretrained_input({"name": "inception_v3", "weights": "DEFAULT"})
    assert spec is not None
    assert (spec.image_size, spec.resize_size) == (299, 342)
    assert pretrained_input({"name": "inception_v3", "weights": None}) is None


def test_auxiliary_heads_count() -> None:
    assert auxiliary_weight(zoo.googlenet(weights=None, init_weights=False)) == 0.3
    assert auxiliary_weight(zoo.resnet18(weights=None)) is None


def test_an_input_that_does_not_fit_names_one_that_does() -> None:
    model = models.build({"name": "squeezenet1_1"}, num_classes=3)
    with pytest.raises(ConfigError, match=r"cannot take images of 8×8 pixels .*; 28 fits"):
        check_input(model, "squeezenet1_1", 8, 8, 3)
