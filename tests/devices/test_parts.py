"""The parts of the ranks: put together they are the batches of one process, to the bit."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from expkit.config.hydra_loader import Config
from expkit.data.loader import Loader
from expkit.runs.build import build

SAMPLERS = [
    ["sampler=shuffle"],
    ["sampler=sequential"],
    ["sampler=class_balanced"],
    ["sampler=weighted", "sampler.class_weights={circle: 3}"],
]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda words: words[0])
@pytest.mark.parametrize("ranks", [2, 4])
def test_parts_are_the_whole(sampler: list[str], ranks: int, small_config: Callable[..., Config]) -> None:
    transforms = ["transforms=augment", "transforms.image_size=32", "dataset.train_images=45", "batch_size=14"]
    whole = build(small_config(*sampler, *transforms)).trainer.train_loader
    parts = [
        Loader(whole.samples, whole.batches.order, 14, part=(rank, ranks)) for rank in range(ranks)
    ]  # 45 is 3 batches of 14 and one of 3, of which the first of 4 ranks has none
    for epoch in (0, 1):
        for batch, *shared in zip(whole.epoch(epoch), *(part.epoch(epoch) for part in parts), strict=True):
            assert torch.cat([part.indices for part in shared]).equal(batch.indices)
            assert torch.cat([part.images for part in shared if len(part.indices)]).equal(batch.images)
            assert {part.total for part in shared} == {len(batch.indices)}


def test_a_part_goes_on_from_any_step(small_config: Callable[..., Config]) -> None:
    whole = build(small_config()).trainer.train_loader
    part = Loader(whole.samples, whole.batches.order, 16, part=(1, 2))
    later: list[Any] = list(part.epoch(0))[2:]
    again = list(part.epoch(0, 2))
    assert [batch.images.equal(other.images) for batch, other in zip(later, again, strict=True)] == [True] * len(later)
