"""What messages about samplers, transforms and the reading of images say to type or to do."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from expkit.config.registry import datasets, samplers
from expkit.core.errors import ConfigError
from expkit.data.batches import _Stack
from expkit.data.growth import reason_against
from expkit.data.mixing import build_mixing
from expkit.data.transforms import build_chain
from expkit.data.workers import failure
from expkit.runs.job import waiting_advice
from tests.remedies.followed import node_of

ONE, SEVERAL, NAMES = np.array([0, 0, 1, 1]), np.eye(4, 2, dtype=np.float32), ("cat", "dog")
# A sampler, its options, the targets, what is said, and the sampler and the options that are then right.
SAMPLERS: list[tuple[str, dict[str, Any], Any, str, str, dict[str, Any]]] = [
    ("class_balanced", {}, SEVERAL, "use sampler=shuffle for multilabel", "shuffle", {}),
    ("subset", {"fraction": 2.0}, ONE, "up to 1 (or give indices)", "subset", {"fraction": 1.0}),
    ("subset", {"fraction": 2.0}, ONE, "up to 1 (or give indices)", "subset", {"indices": [0]}),
    ("subset", {"indices": [4]}, ONE, "(0 to 3)", "subset", {"indices": [3]}),
    ("subset", {"indices": []}, ONE, "or list some indices", "subset", {"indices": [1]}),
    ("class_balanced", {"num_samples": 0}, ONE, "raise num_samples", "class_balanced", {"num_samples": 1}),
    ("repeated", {"repetitions": 0}, ONE, "from 1 up", "repeated", {"repetitions": 1}),
    ("weighted", {"class_weights": [1.0]}, ONE, "give one for each, in this order: cat, dog", "weighted",
     {"class_weights": [1.0, 2.0]}),
    ("weighted", {"class_weights": {"dogs": 1.0}}, ONE, "did you mean 'dog'?", "weighted",
     {"class_weights": {"dog": 1.0}}),
    ("weighted", {"class_weights": [-1.0, 1.0]}, ONE, "takes numbers from 0 up, not all 0", "weighted",
     {"class_weights": [0.0, 1.0]}),
    ("weighted", {"class_weights": [0.0, 1.0], "replacement": False}, ONE, "lower it", "weighted",
     {"class_weights": [0.0, 1.0], "replacement": False, "num_samples": 2}),
    ("weighted", {"class_weights": [0.0, 1.0], "replacement": False}, ONE, "set sampler.replacement=true", "weighted",
     {"class_weights": [0.0, 1.0], "replacement": True}),
]  # fmt: skip


def order(name: str, options: dict[str, Any], targets: Any) -> Any:
    node = {"name": name, **options}
    if faults := samplers.faults(node):
        raise ConfigError(*faults)
    return samplers.build(node, targets=targets, class_names=NAMES)


@pytest.mark.parametrize(("name", "options", "targets", "said", "other", "then"), SAMPLERS)
def test_the_sampler_is_made_then(
    name: str, options: dict[str, Any], targets: Any, said: str, other: str, then: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        order(name, options, targets)
    assert order(other, then, targets)


def test_mixing_is_left_out_then() -> None:
    with pytest.raises(ConfigError, match=re.escape("use transforms.batch=[] for multilabel")):
        build_mixing([{"name": "MixUp", "alpha": 0.2}], 2, "multilabel")
    assert (
        build_mixing(node_of(["transforms=imagenet", "transforms.batch=[]"], "transforms")["batch"], 2, "multilabel")
        is None
    )


# The last step of the list that makes images of one size.
@pytest.mark.parametrize("last", [{"name": "CenterCrop", "size": 20}, {"name": "Resize", "size": [20, 30]}])
def test_images_of_a_batch_are_of_one_size_then(last: dict[str, Any]) -> None:
    images = [torch.zeros(3, 40, 50, dtype=torch.uint8), torch.zeros(3, 50, 40, dtype=torch.uint8)]
    steps: list[dict[str, Any]] = [{"name": "Resize", "size": 30}]
    with pytest.raises(ConfigError, match=re.escape("end the list with a crop, or with {name: Resize, size: [height")):
        pack(images, steps)
    pack(images, [*steps, last])


def pack(images: list[torch.Tensor], steps: list[dict[str, Any]]) -> None:
    chain, packed = build_chain(steps, 20, 20), _Stack(2, None)
    for image in images:
        packed.add(chain(image))


def test_an_image_that_would_grow_is_cropped_then() -> None:
    steps = [v2.Resize(224)]
    assert "crop it or leave it out" in str(reason_against(steps, 1, 30_000))
    assert not reason_against(steps, 1, 1)


# What a run has, and each piece of advice, which is typed then.
ADVICE = [
    ((2, 4, "memory", False), ["dataset.num_workers=4"]),
    ((4, 4, "none", True), ["dataset.cache=memory", "dataset.decoder=region"]),
    ((0, 2, "none", False), ["dataset.num_workers=2", "dataset.cache=memory"]),
]


@pytest.mark.parametrize(("given", "words"), ADVICE)
def test_what_would_help_a_run_that_waits_is_taken(given: tuple[Any, ...], words: list[str]) -> None:
    assert re.findall(r"dataset\.\w+=\w+", waiting_advice(*given)) == words
    node = node_of(["dataset=image_folder", "dataset.root=pets", *words])
    assert not datasets.faults(node)
    if "(or disk)" in waiting_advice(*given):
        assert not datasets.faults(node | {"cache": "disk"})


def test_what_is_said_of_workers_is_an_option(tmp_path: Path) -> None:
    """Too many bad files, workers that hang and that die: each option that is named is one of the data or the run."""
    hangs = failure(RuntimeError("DataLoader timed out after 60 seconds"), [], 0, lambda n: False, lambda n: [], 60)
    dies = failure(RuntimeError("DataLoader worker (pid 1) exited"), [], 0, lambda n: False, lambda n: [], 60)
    node = node_of(["dataset=image_folder", f"dataset.root={tmp_path}"])
    for told in (str(hangs), str(dies)):
        named = re.findall(r"dataset\.(\w+)", told)
        assert named
        assert set(named) <= set(node), told
