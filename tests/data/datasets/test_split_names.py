"""Splits by the names of folders, shards and parts: found, kept apart or refused, and never learned as classes."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from expkit.core.errors import ConfigError
from expkit.data.dataset import Splits
from expkit.data.datasets import load
from expkit.data.datasets.split_names import role_of
from tests.inference.runs import coco_files

Write = Callable[..., Path]

NAMES = ("a/1.jpg", "a/2.jpg", "a/3.jpg", "b/1.jpg", "b/2.jpg", "b/3.jpg")


def folders(write: Write, *splits: str, names: tuple[str, ...] = NAMES) -> Path:
    return write("x", *(f"{split}/{name}" for split in splits for name in names))


def loaded(root: Path, name: str = "image_folder", **options: object) -> Splits:
    return load({"name": name, "root": str(root), **options})


@pytest.mark.parametrize(
    ("word", "role"),
    [
        ("Train", "train"), ("TRAINING", "train"), ("training_set", "train"), ("train2017", "train"), ("val", "val"),
        ("Valid", "val"), ("validation", "val"), ("dev", "val"), ("test1", "test"), ("Testing", "test"),
        ("hold-out", "test"), ("holdout", "test"), ("trains", None), ("cat", None), ("invalid", None), ("", None),
    ],
)  # fmt: skip
def test_names_in_use(word: str, role: str | None) -> None:
    assert role_of(word) == role


@pytest.mark.parametrize(
    ("splits", "validates_on", "apart"),
    [
        (("train", "test"), None, 1), (("train", "valid"), "valid", 0), (("train", "valid", "test"), "valid", 1),
        (("Training", "Testing"), None, 1), (("TRAIN", "VALIDATION"), "VALIDATION", 0),
        (("train", "dev", "test", "holdout"), "dev", 2), (("training_set", "test_set"), None, 1),
        (("train", "test", "extra"), None, 1), (("train",), None, 0), (("seg_train", "seg_test", "seg_pred"), None, 1),
        (("Training", "PublicTest", "PrivateTest"), None, 2), (("trn", "tst"), None, 1),
        (("train", "minival"), "minival", 0),
        (("pets-Train", "pets-Valid"), "pets-Valid", 0), (("train", "Hold_Out"), None, 1),
    ],
)  # fmt: skip
def test_split_folders_are_no_classes(
    image_files: Write, splits: tuple[str, ...], validates_on: str | None, apart: int
) -> None:
    root = folders(image_files, *splits)
    found = loaded(root)
    assert found.train.class_names == ("a", "b")
    assert found.held_out == (validates_on is None)
    assert found.val is not None
    if validates_on:
        assert Path(found.val.location(0)).parts[-3] == validates_on
    assert len(found.train) + (len(found.val) if found.held_out else 0) == 6
    assert sum("apart (6 images): neither trained nor validated on" in note for note in found.notes) == apart
    assert (found.test is not None) == bool(apart)


def test_an_archive_s_doubled_folders(image_files: Write) -> None:
    found = loaded(folders(image_files, "training_set/training_set", "test_set/test_set"))
    assert (found.train.class_names, len(found.test or [])) == (("a", "b"), 6)


@pytest.mark.parametrize("others", [("cars", "planes"), ("cars",)])
def test_train_can_be_a_class(image_files: Write, others: tuple[str, ...]) -> None:
    root = image_files("x", *(f"{name}/{n}.jpg" for name in ("train", *others) for n in range(3)))
    found = loaded(root)
    assert found.train.class_names == tuple(sorted(("train", *others)))
    assert "took the folder train for a class, not for a split" in found.notes


def test_classes_that_hold_the_same_folders_are_named(image_files: Write) -> None:
    found = loaded(folders(image_files, "fold_0", "fold_1"))
    assert any("the classes (fold_0, fold_1) all hold the same folders (a, b)" in note for note in found.notes)


def test_coco_that_validates_on_its_training_images_is_said(tmp_path: Path) -> None:
    file = str(tmp_path / "x/instances.json")
    coco_files(tmp_path / "x")
    found = loaded(tmp_path / "x", "coco", annotations=file, val_root=str(tmp_path / "x"), val_annotations=file)
    assert any("warning: all of the 24 validation images are training images too" in note for note in found.notes)


def test_test_beside_the_classes_themselves_is_kept_apart(image_files: Write) -> None:
    found = loaded(image_files("x", *NAMES, *(f"test/{name}" for name in NAMES)))
    assert (found.train.class_names, len(found.test or [])) == (("a", "b"), 6)


def test_unlabelled_test_images_are_kept_apart(image_files: Write) -> None:
    found = loaded(image_files("x", *(f"train/{name}" for name in NAMES), "test/1.jpg", "test/2.jpg"))
    assert found.train.class_names == ("a", "b")
    assert found.test is None
    assert any("test apart (2 images)" in note for note in found.notes)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("train/1.jpg", "test/1.jpg"), "holds no class folders; for names like cat.1.jpg use dataset=dogcat"),
        (("valid/a/1.jpg", "test/a/1.jpg"), "but no training folder"),
        (("train/a/1.jpg", "training/a/1.jpg", "test/a/1.jpg"), "only one folder can be the training split"),
        (("train/a/1.jpg", "val/a/1.jpg", "dev/a/1.jpg"), "only one folder can be the validation split"),
        (
            ("a/train/1.jpg", "a/test/1.jpg", "b/train/1.jpg"),
            "hold splits themselves .a/test, a/train, b/train.; arrange",
        ),
        (("images/train/a/1.jpg", "images/val/a/1.jpg"), "set dataset.root=.*/x/images"),
        (("one/two/train/a/1.jpg", "one/two/test/a/1.jpg"), "set dataset.root=.*/x/one/two"),
        (("train/a/1.jpg", "query/a/1.jpg", "gallery/a/1.jpg"), "look like splits; set dataset.root=.*/x/train to"),
        (("train_clean/a/1.jpg", "train_noisy/a/1.jpg", "val/a/1.jpg"), "only one folder can be the training split"),
        (("a/1.jpg", "b/1.jpg", "train/a/1.jpg"), "holds classes, and a folder train with the same ones"),
    ],
)
def test_what_stays_open_is_refused(image_files: Write, names: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        loaded(image_files("x", *names))


def test_the_remedies_work(image_files: Write) -> None:
    root = folders(image_files, "train", "val", "dev")
    assert len(loaded(root, val_root=str(root / "dev")).train) == 6
    with pytest.raises(ConfigError, match=f"dataset.val_root={root}/dev"):
        loaded(root / "train", val_root=str(root))
    assert len(loaded(root / "train", val_root=str(root / "dev")).val or []) == 6


def test_a_given_val_root_goes_before_the_one_inside(image_files: Write) -> None:
    root = folders(image_files, "train", "val", "test")
    found = loaded(root, val_root=str(root / "test"))
    assert found.val is not None
    assert Path(found.val.location(0)).parts[-3] == "test"
    assert found.train.class_names == ("a", "b")


@pytest.mark.parametrize(("splits", "held_out"), [(("train", "test1"), True), (("Train", "Valid", "test"), False)])
def test_dogcat(image_files: Write, splits: tuple[str, ...], held_out: bool) -> None:
    names = ["cat.1.jpg", "cat.2.jpg", "dog.1.jpg", "dog.2.jpg"]
    some = [f"{split}/{name}" for split in splits if not split.startswith("test") for name in names]
    found = loaded(image_files("x", *some, *(f"{splits[-1]}/{n}.jpg" for n in range(3))), "dogcat")
    assert len(found.train) == (2 if held_out else 4)
    assert any("apart: neither trained nor validated on" in note for note in found.notes)


def test_dogcat_keeps_a_test_folder_beside_the_images_apart(image_files: Write) -> None:
    names = [f"{name}.{n}.jpg" for name in ("cat", "dog") for n in range(3)]
    found = loaded(image_files("x", *names, *(f"test/{name}" for name in names)), "dogcat")
    assert len(found.train) + len(found.val or []) == 6


def _shard(path: Path, count: int = 4) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as shard:
        for number in range(count):
            picture = io.BytesIO()
            Image.effect_noise((20, 20), 60 + number).convert("RGB").save(picture, "JPEG")
            for ending, data in (("jpg", picture.getvalue()), ("cls", str(number % 2).encode())):
                member = tarfile.TarInfo(f"{number}.{ending}")
                member.size = len(data)
                shard.addfile(member, io.BytesIO(data))


@pytest.mark.parametrize(
    ("files", "train", "val"),
    [
        (("train-000.tar", "train-001.tar", "test-000.tar"), 6, 2),
        (("train-000.tar", "val-000.tar", "test-000.tar"), 4, 4),
        (("imagenet-train-0.tar", "imagenet-validation-0.tar"), 4, 4),
        (("train/0.tar", "valid/0.tar", "test/0.tar"), 4, 4),
        (("0.tar", "1.tar", "test.tar"), 6, 2),
        (("train.tar", "cars.tar"), 6, 2),
    ],
)
def test_shards(tmp_path: Path, files: tuple[str, ...], train: int, val: int) -> None:
    for file in files:
        _shard(tmp_path / file)
    found = loaded(tmp_path, "webdataset")
    assert (len(found.train), len(found.val or [])) == (train, val)


def test_classes_of_a_plugin_that_are_splits_are_refused(image_files: Write) -> None:
    from expkit.config.registry import datasets
    from expkit.data.datasets.image_files import ImageFiles

    root = folders(image_files, "train", "test")

    @datasets.register("by_first_folder")
    def by_first_folder(root: str) -> Splits:
        """Labels by the first folder."""
        paths = [f"{split}/{name}" for split in ("test", "train") for name in NAMES]
        return Splits(ImageFiles(Path(root), paths, [0] * 6 + [1] * 6, ["test", "train"]))

    try:
        with pytest.raises(ConfigError, match="classes are called test, train, which are names of splits"):
            loaded(root, "by_first_folder")
    finally:
        datasets._entries.pop("by_first_folder")
