"""The same batches for any number of workers, from any step, whatever draws a transform makes."""

import hashlib
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from expkit.data.datasets.image_folder import read_folders
from expkit.data.loader import Loader
from expkit.data.samplers import Order
from expkit.data.samples import Samples
from expkit.data.transforms import Chain, build_chain
from expkit.registry import samplers

RECIPE = [
    {"name": "RandomResizedCrop", "size": 24},
    {"name": "RandomHorizontalFlip"},
    {"name": "RandAugment"},
]


def jitter(image: Tensor) -> Tensor:
    """A user's own transform, with draws of every kind."""
    shift = random.randrange(5) + int(np.random.randint(5)) + int(torch.randint(5, ()))
    return image + shift


@pytest.fixture
def folder(image_files: Callable[..., Path]) -> Path:
    return image_files("images", *(f"{name}/{number}.jpg" for name in "ab" for number in range(10)))


def loader(folder: Path, batch_size: int = 4, seed: int = 0, **options: int) -> Loader:
    data = read_folders(folder, "dataset.root")
    chain = Chain((*build_chain(RECIPE, 24, 24).steps, jitter))
    order: Order = samplers.build({"name": "shuffle"}, targets=data.targets)
    return Loader(Samples(data, chain, seed, "sample"), order, batch_size, **options)  # type: ignore[arg-type]


def hashes(batches: Loader, epoch: int = 0, start: int = 0) -> list[str]:
    return [
        hashlib.sha256(image.numpy().tobytes()).hexdigest()
        for batch in batches.epoch(epoch, start)
        for image in batch.images
    ]


def test_any_number_of_workers_gives_the_same_pixels(folder: Path) -> None:
    expected = hashes(loader(folder))
    for workers in (1, 2):
        assert hashes(loader(folder, num_workers=workers)) == expected


def test_any_batch_size_gives_the_same_pixels(folder: Path) -> None:
    assert hashes(loader(folder, 7)) == hashes(loader(folder, 4)) == hashes(loader(folder, 20))


def test_a_jump_gives_the_rest_and_opens_nothing_before(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = hashes(loader(folder), epoch=3)
    batches, opened = loader(folder), []
    read = batches.samples.dataset.image
    monkeypatch.setattr(batches.samples.dataset, "image", lambda index: (opened.append(index), read(index))[1])
    assert hashes(batches, epoch=3, start=2) == whole[8:]
    assert len(opened) == 12


def test_epochs_and_seeds_share_nothing(folder: Path) -> None:
    runs = [hashes(loader(folder), 0), hashes(loader(folder), 1), hashes(loader(folder, seed=1), 0)]
    assert len(set().union(*runs)) == 60


def test_an_index_drawn_twice_is_augmented_twice(folder: Path) -> None:
    batches = loader(folder)
    batches.batches.order = Order(6, lambda generator: np.zeros(6, dtype=np.int64))
    assert len(set(hashes(batches))) == 6
