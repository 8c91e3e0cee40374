"""Every YAML of conf/ composes and checks."""

from pathlib import Path

import pytest

from expkit.config.compose import compose_one, plain
from expkit.config.conf_folder import conf_folder
from expkit.runs.check import check

CHOICES = sorted(path.relative_to(conf_folder()) for path in conf_folder().glob("*/*.yaml"))
# What a choice leaves for its user to say.
NEEDED = {
    "dataset/masks": ["dataset.root=.", "dataset.classes=[a,b]"],
    "dataset/dogcat": ["dataset.root=x"],
    "dataset/image_folder": ["dataset.root=x"],
    "dataset/imagenet": ["dataset.root=x"],
    "dataset/lsun": ["dataset.root=x"],
    "dataset/coco": ["dataset.root=x", "dataset.annotations=y"],
    "dataset/huggingface": ["dataset.root=x"],
    "dataset/webdataset": ["dataset.root=x"],
    "dataset/torchvision": ["dataset.name=svhn", "dataset.root=x"],
    "model/torchvision": ["model.name=resnet34"],
    "model/timm": ["model.name=timm/resnet18"],
    "loss/distill": ["loss.teacher=x"],
    "device/multi_node": ["device.endpoint=x:29400"],
    "loss/torch": ["loss.name=MultiMarginLoss"],
    "optimizer/torch": ["optimizer.name=radam"],
    "schedule/torch": ["schedule.name=ExponentialLR", "+schedule.gamma=0.9"],
    "sampler/weighted": ["sampler.class_weights={cat: 2}"],
    "experiment/dogcat_squeezenet": ["dataset.root=x"],
    "experiment/torchvision_resnet50": ["dataset.root=x"],
    "experiment/torchvision_resnet50_v1": ["dataset.root=x"],
    "experiment/torchvision_mobilenet_v3_large": ["dataset.root=x"],
}


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_a_choice_composes_and_checks(choice: Path) -> None:
    word = choice.with_suffix("").as_posix()
    group, name = word.split("/")
    check(plain(compose_one([f"{group}={name}", *NEEDED.get(word, [])])))
