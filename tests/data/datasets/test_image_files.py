"""Labelled files: dogcat, image_folder, COCO, LSUN and the drawn shapes, on small data of the real formats."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np
import pytest

from expkit.core.errors import ConfigError
from expkit.data.datasets import load
from expkit.doctor.reader_pool import read_all

Write = Callable[..., Path]


def test_dogcat_takes_labels_from_names(image_files: Write) -> None:
    root = image_files("x", "cat.1.jpg", "cat.2.jpg", "dog.1.JPG", "dog.2.png")
    splits = load({"name": "dogcat", "root": str(root), "val_root": str(root)})
    assert splits.train.class_names == ("cat", "dog")
    assert splits.train.targets.tolist() == [0, 0, 1, 1]
    assert splits.notes[0] == "class 0 is cat (2 images), class 1 is dog (2 images)"
    turned = load({"name": "dogcat", "root": str(root), "classes": ["dog", "cat"]})
    assert turned.notes[0].startswith("class 0 is dog")


def test_the_tutorial_s_photographs(real_data: Path) -> None:
    splits = load({"name": "dogcat", "root": str(real_data / "dogcat_book/dogcat")})
    assert (len(splits.train), len(splits.val or [])) == (6, 2)


def test_a_file_of_no_class_is_named(image_files: Write) -> None:
    root = image_files("x", "cat.1.jpg", "cow.1.jpg", "dog.1.jpg")
    with pytest.raises(ConfigError, match=r"'cow.1.jpg' begins with none of cat, dog.*dataset.classes=\[cat,cow,dog\]"):
        load({"name": "dogcat", "root": str(root)})


def test_an_empty_class_folder_is_named(image_files: Write) -> None:
    root = image_files("x", "a/1.jpg", "b/1.jpg")
    (root / "c").mkdir()
    with pytest.raises(ConfigError, match="no image in the class folder c"):
        load({"name": "image_folder", "root": str(root)})


def test_one_class_only_is_refused(image_files: Write) -> None:
    with pytest.raises(ConfigError, match="only one class"):
        load({"name": "image_folder", "root": str(image_files("x", "a/1.jpg", "a/2.jpg"))})


def test_class_lists_that_differ_are_shown(image_files: Write) -> None:
    root, other = image_files("x", "a/1.jpg", "b/1.jpg"), image_files("y", "a/1.jpg", "c/1.jpg")
    with pytest.raises(ConfigError, match=r"the classes differ: only training has b; only .* has c"):
        load({"name": "image_folder", "root": str(root), "val_root": str(other)})


def test_train_and_val_below_one_root_are_found(image_files: Write) -> None:
    root = image_files("x", "train/a/1.jpg", "train/b/1.jpg", "val/a/2.jpg", "val/b/2.jpg")
    splits = load({"name": "image_folder", "root": str(root)})
    assert splits.val is not None
    assert splits.val.sample_name(0) == "a/2.jpg"


def test_shapes_are_the_same_in_both_layouts(tmp_path: Path) -> None:
    node = {"name": "shapes", "root": str(tmp_path / "s"), "size": 32, "train_images": 10, "val_images": 5}
    by_folder, by_name = load(node | {"layout": "folders"}), load(node | {"layout": "names"})
    assert by_folder.train.class_names == by_name.train.class_names
    assert by_folder.train.targets.tolist() == by_name.train.targets.tolist()


def test_shapes_drawn_with_other_options_lie_beside_the_first(tmp_path: Path) -> None:
    node = {"name": "shapes", "root": str(tmp_path / "s"), "size": 32, "train_images": 10, "val_images": 5}
    for size in (32, 48, 32, 48):
        assert load(node | {"size": size}).train.image(0).shape == (3, size, size)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s", "s_48_10_5_0"]


def test_shapes_are_not_drawn_into_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    with pytest.raises(ConfigError, match=r"was not drawn by expkit; give another dataset\.root"):
        load({"name": "shapes", "root": str(tmp_path / "s")})


def test_coco_is_multilabel(image_files: Write, tmp_path: Path) -> None:
    root = image_files("x", "1.jpg", "2.jpg", "3.jpg")
    content = {
        "images": [{"id": number, "file_name": f"{number}.jpg"} for number in (1, 2, 3)],
        "categories": [{"id": 7, "name": "cup"}, {"id": 3, "name": "car"}],
        "annotations": [{"image_id": image, "category_id": category} for image, category in ((1, 7), (1, 3), (3, 7))],
    }
    file = tmp_path / "instances.json"
    file.write_text(json.dumps(content))
    both = {"root": str(root), "annotations": str(file), "val_root": str(root), "val_annotations": str(file)}
    splits = load({"name": "coco", **both})
    assert splits.train.class_names == ("car", "cup")
    assert splits.train.targets.tolist() == [[1, 1], [0, 0], [0, 1]]
    assert splits.train.image(0).shape == (3, 36, 40)


def test_lsun_reads_its_databases(image_files: Write, tmp_path: Path) -> None:
    data = (image_files("x", "1.jpg") / "1.jpg").read_bytes()
    for scene in ("bridge", "tower"):
        (tmp_path / "lsun").mkdir(exist_ok=True)
        database = lmdb.open(str(tmp_path / "lsun" / f"{scene}_train_lmdb"), map_size=2**20)
        with database.begin(write=True) as transaction:
            for number in range(3):
                transaction.put(f"{scene}{number}".encode(), data)
        database.close()
    splits = load({"name": "lsun", "root": str(tmp_path / "lsun"), "val_fraction": 0.34})
    assert splits.train.class_names == ("bridge", "tower")
    for _ in range(2):  # read here, then by forked workers, then here again
        assert splits.train.image(0).shape == (3, 36, 40)
        read = [answer for _, answer in read_all(splits.train.image, 4, 2, 30)]
        assert [getattr(one, "shape", one) for one in read] == [(3, 36, 40)] * 4
    assert pickle.loads(pickle.dumps(splits.train)).image(3).shape == (3, 36, 40)
    assert np.bincount(splits.train.targets.astype(int)).tolist() == [2, 2]
    assert splits.train.image(0).shape == (3, 36, 40)
