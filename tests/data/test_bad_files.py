"""Files that cannot be read: fail, skip or replace; the limit, the list, and that nothing else changes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import pytest
import torch

from expkit.core.errors import ConfigError
from expkit.data.bad_files import read_bad_files, write_bad_files
from expkit.data.batches import BadSample, OnBad, Samples
from expkit.data.datasets import load
from expkit.data.datasets.image_folder import read_folders
from expkit.data.decode import BadImage
from expkit.data.loader import Loader, LoaderOptions, TooManyBad
from expkit.data.samplers import Order
from expkit.data.transforms import build_chain

RECIPE = [{"name": "RandomResizedCrop", "size": 24}, {"name": "RandomHorizontalFlip"}]
BAD = 3  # the index of the broken file, of class a


@pytest.fixture
def folder(image_files: Callable[..., Path]) -> Path:
    root = image_files("images", *(f"{name}/{number}.jpg" for name in "ab" for number in range(6)))
    (root / "a/3.jpg").write_bytes(b"")
    return root


def loader(folder: Path, on_bad: OnBad, num_workers: int = 0, batch_size: int = 4, **options: float | None) -> Loader:
    data = read_folders(folder, "dataset.root")
    order = Order(len(data), lambda generator: np.arange(len(data)))
    samples = Samples(data, build_chain(RECIPE, 24, 24), 0, "sample", on_bad)
    return Loader(samples, order, batch_size, LoaderOptions(num_workers, **options))  # type: ignore[arg-type]


def test_fail_names_the_file(folder: Path) -> None:
    for workers in (0, 2):
        batches = loader(folder, "fail", workers)
        with pytest.raises(BadImage, match=r"a/3.jpg: the file is empty"):
            list(batches.epoch(0))
        batches.close()


def test_skip_gives_a_smaller_batch_and_leaves_the_others_as_they_are(folder: Path, image_files: object) -> None:
    skipped = [list(loader(folder, "skip", workers).epoch(0)) for workers in (0, 2)]
    assert [len(batch.indices) for batch in skipped[0]] == [3, 4, 4]
    good = Path(folder / "a/0.jpg").read_bytes()
    (folder / "a/3.jpg").write_bytes(good)
    whole = list(loader(folder, "fail").epoch(0))
    for found in skipped:
        assert torch.equal(found[0].images, whole[0].images[:3])
        assert torch.equal(found[1].images, whole[1].images)


def test_a_batch_of_bad_files_is_empty(folder: Path) -> None:
    batches = list(loader(folder, "skip", batch_size=1).epoch(0))
    assert len(batches[BAD].indices) == len(batches[BAD].images) == 0
    assert sum(len(batch.indices) for batch in batches) == 11


def test_replace_draws_another_of_the_class_by_key(folder: Path) -> None:
    epochs = [[list(loader(folder, "replace", workers).epoch(epoch)) for workers in (0, 2)] for epoch in range(6)]
    stand_ins = set()
    for here, in_workers in epochs:
        for one, other in zip(here, in_workers, strict=True):
            assert torch.equal(one.images, other.images)
            assert torch.equal(one.indices, other.indices)
        first = here[0]
        assert len(first.indices) == 4
        assert int(first.targets[BAD]) == 0
        assert int(first.indices[BAD]) != BAD
        stand_ins.add(int(first.indices[BAD]))
    assert len(stand_ins) > 1
    assert stand_ins <= {0, 1, 2, 4, 5}


def test_replace_fails_where_a_class_has_no_other(folder: Path) -> None:
    for number in range(6):
        (folder / f"a/{number}.jpg").write_bytes(b"")
    with pytest.raises(BadImage, match="no other sample of its class can be read"):
        list(loader(folder, "replace").epoch(0))


@pytest.mark.parametrize("workers", [0, 2])
def test_each_is_reported_once_whatever_the_epochs(folder: Path, workers: int) -> None:
    batches, told = loader(folder, "skip", workers), list[BadSample]()
    batches.report = told.append
    for epoch in range(3):
        list(batches.epoch(epoch))
    batches.close()
    assert told == [BadSample(BAD, str(folder / "a/3.jpg"), "the file is empty")]


@pytest.mark.parametrize(("limit", "fails"), [(0, True), (1, False), (0.05, True), (0.1, False), (None, False)])
def test_the_limit_is_a_count_or_a_share(folder: Path, limit: float | None, fails: bool) -> None:
    batches = loader(folder, "skip", max_bad=limit)
    if not fails:
        assert len(list(batches.epoch(0))) == 3
        return
    with pytest.raises(TooManyBad, match=r"1 of 12 samples cannot be read, more than dataset.max_bad=.*a/3.jpg"):
        list(batches.epoch(0))


def test_a_list_leaves_files_out_before_the_split(folder: Path, tmp_path: Path) -> None:
    write_bad_files(tmp_path / "bad_files.json", {"a/3.jpg": "the file is empty", "gone.jpg": "?"})
    for place in (tmp_path, tmp_path / "bad_files.json"):
        splits = load({"name": "image_folder", "root": str(folder), "exclude": str(place), "val_fraction": 0.34})
        assert splits.val is not None
        names = {part.sample_name(index) for part in (splits.train, splits.val) for index in range(len(part))}
        assert len(names) == 11
        assert "a/3.jpg" not in names
        assert any(note.startswith("left out 1 sample that") for note in splits.notes)


def test_a_list_tells_the_splits_apart(folder: Path, image_files: Callable[..., Path], tmp_path: Path) -> None:
    val = image_files("val", "a/3.jpg", "a/4.jpg", "b/0.jpg")
    node = {"name": "image_folder", "root": str(folder), "val_root": str(val), "exclude": str(tmp_path)}
    write_bad_files(tmp_path / "bad_files.json", {"a/3.jpg": "the file is empty"})
    splits = load(node)
    assert splits.val is not None
    assert (len(splits.train), len(splits.val)) == (11, 3)
    write_bad_files(tmp_path / "bad_files.json", {"val/a/3.jpg": "blurred"})
    splits = load(node)
    assert splits.val is not None
    assert (len(splits.train), len(splits.val)) == (12, 2)


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
def test_a_list_of_another_normalisation(image_files: Callable[..., Path], tmp_path: Path, forms: Any) -> None:
    files, listed = (normalize(form, "é/1.jpg") for form in forms)
    root = image_files("x", files, files.replace("1", "2"), "b/1.jpg", "b/2.jpg")
    write_bad_files(tmp_path / "list.json", {listed: "blurred"})
    splits = load(
        {"name": "image_folder", "root": str(root), "exclude": str(tmp_path / "list.json"), "val_fraction": 0}
    )
    assert len(splits.train) == 3


def test_a_list_that_is_none_is_named(tmp_path: Path) -> None:
    for content, reason in (("nonsense", "is not JSON"), ("[1]", "must map names to reasons"), (None, "cannot read")):
        path = tmp_path / "list.json"
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_text(content)
        with pytest.raises(ConfigError, match=rf"dataset.exclude: .*{reason}"):
            read_bad_files(str(path))
