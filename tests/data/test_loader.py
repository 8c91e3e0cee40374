"""The same batches for any number of workers, from any step, whatever draws a transform makes."""

import hashlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from expkit.config.registry import samplers
from expkit.core.seeding import derive_seed, seed_cpu
from expkit.data.batches import Samples
from expkit.data.datasets.image_folder import read_folders
from expkit.data.decode import Decoder
from expkit.data.loader import Loader, LoaderOptions
from expkit.data.mixing import build_mixing
from expkit.data.samplers import Order
from expkit.data.transforms import Chain, build_chain

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


def loader(folder: Path, batch_size: int = 4, seed: int = 0, region: bool = False, **options: Any) -> Loader:
    data = read_folders(folder, "dataset.root")
    data.decode_with(Decoder(region=region))
    chain = Chain((*build_chain(RECIPE, 24, 24).steps, jitter))
    order: Order = samplers.build({"name": "shuffle"}, targets=data.targets)
    return Loader(Samples(data, chain, seed, "sample"), order, batch_size, LoaderOptions(**options))


def hashes(batches: Loader, epoch: int = 0, start: int = 0) -> list[str]:
    """Return the sha256 of each image; the workers are ended."""
    found = [
        hashlib.sha256(image.contiguous().numpy().tobytes()).hexdigest()
        for batch in batches.epoch(epoch, start)
        for image in batch.images
    ]
    batches.close()
    return found


SETTINGS = [
    {"num_workers": 1},
    {"num_workers": 2, "persistent": False, "prefetch": 1},
    {"num_workers": 2, "prefetch": 3},
    {"num_workers": 4},
    {"num_workers": 1, "start_method": "spawn"},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_any_workers_give_the_same_pixels(folder: Path, settings: dict[str, Any]) -> None:
    assert hashes(loader(folder, **settings)) == hashes(loader(folder))


def test_persistent_workers_follow_from_epoch_to_epoch(folder: Path) -> None:
    batches = loader(folder, num_workers=2)
    for epoch in range(3):
        found = [batch.images for batch in batches.epoch(epoch)]
        for ours, theirs in zip(found, loader(folder).epoch(epoch), strict=True):
            assert torch.equal(ours, theirs.images)
    batches.close()


def test_any_batch_size_gives_the_same_pixels(folder: Path) -> None:
    assert hashes(loader(folder, 5)) == hashes(loader(folder, 16)) == hashes(loader(folder, 64))


def test_a_jump_gives_the_rest_and_opens_nothing_before(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches, opened = loader(folder), []
    read = batches.samples.dataset.image
    monkeypatch.setattr(batches.samples.dataset, "image", lambda index: (opened.append(index), read(index))[1])
    for epoch in (0, 3):
        whole = hashes(loader(folder), epoch)
        for start in range(5):
            opened.clear()
            assert hashes(batches, epoch, start) == whole[4 * start :]
            assert len(opened) == 20 - 4 * start


def test_a_jump_is_the_same_with_workers(folder: Path) -> None:
    assert hashes(loader(folder, num_workers=2), epoch=3, start=3) == hashes(loader(folder), epoch=3)[12:]


def test_epochs_and_seeds_share_nothing(folder: Path) -> None:
    runs = [hashes(loader(folder), 0), hashes(loader(folder), 1), hashes(loader(folder, seed=1), 0)]
    assert len(set().union(*runs)) == 60


def test_an_index_drawn_twice_is_augmented_twice(folder: Path) -> None:
    batches = loader(folder)
    batches.batches.order = Order(6, lambda generator: np.zeros(6, dtype=np.int64))
    assert len(set(hashes(batches))) == 6


def test_a_decoded_region_is_the_same_to_the_pixel(folder: Path) -> None:
    pytest.importorskip("nvidia.nvimgcodec", reason="the extra expkit[region] is not installed", exc_type=ImportError)
    assert hashes(loader(folder, region=True)) == hashes(loader(folder))
    assert hashes(loader(folder, region=True, num_workers=2)) == hashes(loader(folder))


def test_chains_of_torchvision_need_torch_s_generator_alone() -> None:
    assert build_chain(RECIPE, 24, 24).only_torch
    assert not Chain((jitter,)).only_torch
    inner = build_chain([{"name": "RandomApply", "transforms": [{"name": "RandAugment"}]}], 24, 24)
    assert inner.only_torch
    inner.steps[0].transforms.append(jitter)  # type: ignore[attr-defined]
    assert not Chain(inner.steps).only_torch


@pytest.mark.parametrize("names", [["MixUp"], ["CutMix"], ["MixUp", "CutMix"]])
def test_mixing_is_drawn_by_key(names: list[str]) -> None:
    mixing = build_mixing([{"name": name} for name in names], 3, "single_label")
    assert mixing is not None
    images, targets = torch.rand(8, 3, 16, 16), torch.arange(8) % 3

    def mixed(step: int) -> tuple[Tensor, Tensor]:
        seed_cpu(derive_seed(0, "batch", 0, step))
        return mixing(images, targets)

    first, again, other = mixed(0), mixed(0), mixed(1)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert first[1].shape == (8, 3)
    assert torch.allclose(first[1].sum(1), torch.ones(8))
