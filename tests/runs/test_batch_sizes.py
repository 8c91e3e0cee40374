"""A last batch, part or piece of one image that batch normalisation cannot train on is known before the start."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from expkit.core.errors import ConfigError
from expkit.runs.batch_sizes import _micro_batches
from expkit.runs.build import build
from expkit.training.micro_batches import MicroBatches

LAST_OF_ONE = ["dataset.train_images=33", "model=resnet18", "transforms.image_size=32"]  # which end as 1×1


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ([], r"batch_size: the last batch of 33 images by 16 holds one, and resnet18 cannot .* dataset.drop_last=true"),
        (["batch_size=1"], "batch_size: a batch holds one image, .*; raise batch_size$"),
        (
            ["dataset.train_images=35", "device.micro_batch=2"],
            r"last batch of an epoch \(3 images\) holds",
        ),
        (["dataset.train_images=32", "device.micro_batch=3"], None),  # 16 are six pieces of 3, 3, 3, 3, 2, 2
        (["dataset.train_images=32", "device.micro_batch=1"], r"a micro-batch of a batch of 16 images holds"),
        (["dataset.drop_last=true"], None),
        (["batch_size=15"], None),
        (["limit_train_batches=2"], None),
        (["max_steps=2"], None),
        (["max_steps=2", "accumulate_steps=2"], "the last batch of 33 images"),
        (["transforms.image_size=64"], None),
        (["sampler=subset", "sampler.fraction=0.52"], "the last batch of 17 images by 16 holds one"),
        (["model.freeze=['conv1*','bn1*','layer*']"], None),  # frozen normalisation takes its running statistics
    ],
)
def test_what_cannot_be_trained_on_is_refused_with_what_to_set(
    small_config: Callable[..., Any], more: list[str], sentence: str | None
) -> None:
    config = small_config(*LAST_OF_ONE, *more)
    config["model"].pop("width", None)
    if sentence is None:
        build(config).close()
        return
    with pytest.raises(ConfigError, match=sentence):
        build(config)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_micro_batches_sizes_are_known(size: int) -> None:
    for images in range(1, 40):
        batch = torch.zeros(images, 1)
        cut = MicroBatches(size, None, print).run(lambda part, _: len(part), batch, batch, images)
        assert _micro_batches(images, size) == {*cut}
