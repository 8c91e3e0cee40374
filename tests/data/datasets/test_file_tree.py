"""Links: each real folder and file is read once, whatever leads to it, and data elsewhere stays usable by links."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from expkit.core.errors import ConfigError
from expkit.data.datasets import load
from expkit.data.datasets.image_files import image_paths
from expkit.inference.inputs import collect_images

Write = Callable[..., Path]

NAMES = tuple(f"{name}/{n}.jpg" for name in ("cat", "dog") for n in range(4))


def classes_of(root: Path, **options: object) -> tuple[dict[str, int], list[str]]:
    """Return images by class over both splits, and the notes."""
    splits = load({"name": "image_folder", "root": str(root), **options})
    assert splits.val is not None
    targets = [*splits.train.targets.tolist(), *splits.val.targets.tolist()]
    return {name: targets.count(n) for n, name in enumerate(splits.train.class_names)}, list(splits.notes)


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("cat/up", ".."), ("cat/up", "../.."), ("cat/self", "."), ("cat/deep/up", "../.."), ("cat/dogs", "../dog"),
        ("cat/again.jpg", "0.jpg"), ("dog/a cat.jpg", "../cat/0.jpg"), ("cat/loop.jpg", "loop"),
        ("itself", "itself"),
    ],
)  # fmt: skip
def test_no_link_multiplies_the_data(image_files: Write, link: str, target: str) -> None:
    root = image_files("x", *NAMES)
    (root / link).parent.mkdir(exist_ok=True)
    os.symlink(target, root / link)
    if target == "loop":
        (root / link).unlink()
        os.symlink("loop", root / "cat/loop")
    counts, notes = classes_of(root)
    assert counts == {"cat": 4, "dog": 4}
    assert target in ("loop", "itself") or any("each file is read once: passed over 1 link" in note for note in notes)
    if link == "dog/a cat.jpg":
        assert any("warning: 1 file lies in two classes" in note and "counted as cat" in note for note in notes)


def test_two_links_to_each_other_s_folders(image_files: Write) -> None:
    root = image_files("x", *NAMES)
    os.symlink("../dog", root / "cat/dog")
    os.symlink("../cat", root / "dog/cat")
    assert classes_of(root)[0] == {"cat": 4, "dog": 4}


def test_hard_links_are_one_file(image_files: Write) -> None:
    root = image_files("x", *NAMES)
    os.link(root / "cat/0.jpg", root / "cat/again.jpg")
    os.link(root / "cat/1.jpg", root / "dog/too.jpg")
    counts, notes = classes_of(root)
    assert counts == {"cat": 4, "dog": 4}
    assert any("warning: 1 file lies in two classes by links, e.g. dog/too.jpg is cat/1.jpg" in one for one in notes)


def test_data_elsewhere_are_used_by_links(image_files: Write) -> None:
    store = image_files("store", *NAMES, "more/9.jpg")
    root = image_files("x", "cat/own.jpg")
    os.symlink(store / "dog", root / "dog")
    os.symlink(store / "cat", root / "cat/further")
    os.symlink(store / "more/9.jpg", root / "cat/nine.jpg")
    counts, notes = classes_of(root)
    assert counts == {"cat": 6, "dog": 4}
    assert not any("passed over" in note for note in notes)
    os.symlink(root, store / "cat/back")
    os.symlink(root.parent, store / "dog/back")
    assert classes_of(root)[0] == {"cat": 6, "dog": 4}


def test_a_class_that_is_a_link_to_another_class_is_named(image_files: Write) -> None:
    root = image_files("x", *NAMES)
    os.symlink("cat", root / "puma")
    with pytest.raises(ConfigError, match=r"class folder puma.* what is there already \(puma: cat\)"):
        classes_of(root)


def test_a_link_that_leads_nowhere_is_a_bad_file_and_no_crash(image_files: Write) -> None:
    root = image_files("x", *NAMES)
    os.symlink("nowhere.jpg", root / "cat/gone.jpg")
    os.symlink("nowhere", root / "cat/gone")
    assert classes_of(root)[0] == {"cat": 5, "dog": 4}


def test_dogcat_and_predict(image_files: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    root = image_files("x", "cat.1.jpg", "cat.2.jpg", "dog.1.jpg", "dog.2.jpg", "sub/dog.3.jpg")
    os.symlink("..", root / "sub/up")
    os.symlink("cat.1.jpg", root / "dog.9.jpg")
    splits = load({"name": "dogcat", "root": str(root)})
    assert len(splits.train) + len(splits.val or []) == 5
    assert len(collect_images([str(root)])) == 5
    assert len(collect_images([f"{root}/**/*.jpg"])) == 5
    assert image_paths(root) == ["cat.1.jpg", "cat.2.jpg", "dog.1.jpg", "dog.2.jpg", "sub/dog.3.jpg"]


@pytest.mark.parametrize("how", ["same", "link", "below", "file links", "hard links"])
def test_validation_on_training_images_is_said(image_files: Write, how: str) -> None:
    root = image_files("x", *NAMES)
    val = root.parent / "val"
    if how == "same":
        val = root
    elif how == "link":
        os.symlink(root, val)
    else:
        for name in NAMES[:1] + NAMES[4:5]:
            (val / name).parent.mkdir(parents=True)
            (os.link if how == "hard links" else os.symlink)(root / name, val / name)
    if how == "below":
        root = image_files("x", *(f"cat/sub/{name}" for name in NAMES))
        val = root / "cat/sub"
    notes = classes_of(root, val_root=str(val))[1]
    assert any("validation images are training images too" in note for note in notes)
