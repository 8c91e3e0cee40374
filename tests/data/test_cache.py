"""Caches: the same pixels from memory and disk, kept over runs, never stale, never half written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from expkit.core.errors import ConfigError
from expkit.data import cache as module
from expkit.data.batches import Samples
from expkit.data.cache import Cache, CachedImages, cached
from expkit.data.datasets.image_folder import read_folders
from expkit.data.datasets.in_memory import ImageArrays
from expkit.data.decode import BadImage
from expkit.data.loader import Loader, LoaderOptions
from expkit.data.samplers import Order
from expkit.data.transforms import Chain, build_chain

TRAIN = [{"name": "RandomResizedCrop", "size": 24}, {"name": "RandomHorizontalFlip"}]
EVAL = [{"name": "Resize", "size": 28}, {"name": "CenterCrop", "size": 24}]


@pytest.fixture
def folder(image_files: Callable[..., Path]) -> Path:
    return image_files("images", *(f"{name}/{number}.jpg" for name in "ab" for number in range(6)))


def batches(folder: Path, recipe: list[dict[str, Any]], cache: Cache, workers: int = 0) -> list[torch.Tensor]:
    data, chain = cached(read_folders(folder, "root"), build_chain(recipe, 24, 28), cache, "train")
    order = Order(len(data), lambda generator: torch.randperm(len(data), generator=generator).numpy())
    loader = Loader(Samples(data, chain, 0, "sample", "skip"), order, 4, LoaderOptions(num_workers=workers))
    found = [batch.images.clone() for batch in loader.epoch(0)]
    loader.close()
    return found


@pytest.mark.parametrize("recipe", [TRAIN, EVAL], ids=["train", "eval"])
@pytest.mark.parametrize("kind", ["memory", "disk"])
@pytest.mark.parametrize("workers", [0, 2])
def test_the_pixels_are_the_same(folder: Path, recipe: Any, kind: Any, workers: int, tmp_path: Path) -> None:
    plain = batches(folder, recipe, Cache("none", tmp_path))
    kept = batches(folder, recipe, Cache(kind, tmp_path / "cache", workers), workers)
    assert all(torch.equal(one, other) for one, other in zip(plain, kept, strict=True))


def test_a_disk_cache_is_read_by_the_next_run(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = batches(folder, EVAL, Cache("disk", tmp_path / "cache"))
    monkeypatch.setattr(module, "_fill", None)  # filling it again would fail
    again = batches(folder, EVAL, Cache("disk", tmp_path / "cache"))
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


@pytest.mark.parametrize("change", ["file", "transforms"])
def test_a_disk_cache_is_not_taken_for_another(folder: Path, change: str, tmp_path: Path) -> None:
    batches(folder, EVAL, Cache("disk", tmp_path / "cache"))
    recipe = EVAL
    if change == "file":
        (folder / "a/0.jpg").write_bytes((folder / "b/5.jpg").read_bytes())
    else:
        recipe = [{"name": "Resize", "size": [24, 24]}]
    plain = batches(folder, recipe, Cache("none", tmp_path))
    kept = batches(folder, recipe, Cache("disk", tmp_path / "cache"))
    assert all(torch.equal(one, other) for one, other in zip(plain, kept, strict=True))
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_bad_files_stay_bad(folder: Path, tmp_path: Path) -> None:
    (folder / "a/3.jpg").write_bytes(b"")
    for _ in range(2):
        data, _ = cached(read_folders(folder, "root"), Chain(()), Cache("disk", tmp_path / "cache"), "train")
        with pytest.raises(BadImage, match=r"a/3.jpg: the file is empty"):
            data.image(3)
        assert data.image(4).shape == (3, 36, 40)
    kept = batches(folder, EVAL, Cache("disk", tmp_path / "cache"))
    assert sum(map(len, kept)) == 11


def test_images_of_one_size_come_in_whole_batches(folder: Path, tmp_path: Path) -> None:
    data, chain = cached(read_folders(folder, "root"), build_chain(EVAL, 24, 28), Cache("memory", tmp_path), "val")
    assert chain.steps == ()
    assert Samples(data, chain, 0, "eval").in_batches
    for indices in (np.array([2, 3, 4]), np.array([7, 0, 7])):
        whole = data.images(indices)
        assert whole is not None
        assert torch.equal(whole, torch.stack([data.image(int(index)) for index in indices]))


def test_writing_into_an_image_changes_no_file(folder: Path, tmp_path: Path) -> None:
    for _ in range(2):
        data, _ = cached(read_folders(folder, "root"), Chain(()), Cache("disk", tmp_path / "cache"), "train")
        assert isinstance(data, CachedImages)
        assert int(data.image(0).max()) > 0
        data.image(0).zero_()


def test_no_room_is_said_with_the_remedy(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_free_memory", lambda: 3 * 36 * 40 * 5)
    with pytest.raises(ConfigError, match=r"memory has no room; use dataset.cache=disk.*5 of 12 images"):
        batches(folder, TRAIN, Cache("memory", tmp_path))
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"dataset.cache_dir: cannot write to"):
        batches(folder, TRAIN, Cache("disk", tmp_path / "file/below"))


def test_a_disk_that_fills_up_leaves_nothing_half(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_fill", full)
    with pytest.raises(ConfigError, match="No space left on device"):
        batches(folder, TRAIN, Cache("disk", tmp_path / "cache"))
    assert list((tmp_path / "cache").iterdir()) == []


def test_arrays_in_memory_are_left_alone_but_for_fixed_transforms(tmp_path: Path) -> None:
    data = ImageArrays(np.zeros((4, 8, 8, 3), dtype=np.uint8), [0, 1, 0, 1], ["a", "b"], "train")
    kept, chain = cached(data, build_chain(TRAIN, 24, 28), Cache("memory", tmp_path), "train")
    assert kept is data
    assert len(chain.steps) == 2
    resized, chain = cached(data, build_chain(EVAL, 24, 28), Cache("memory", tmp_path), "val")
    assert resized.image(0).shape == (3, 24, 24)
    assert chain.steps == ()
