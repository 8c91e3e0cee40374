"""Class names that look the same are the same, and where lists differ, only the difference is named."""

import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from expkit.core.errors import ConfigError
from expkit.data.class_names import are_same, by_known, differ, merged, merged_notes
from expkit.data.datasets import load

DECOMPOSED, COMPOSED = (unicodedata.normalize(form, "café") for form in ("NFD", "NFC"))
MANY = [f"class{number:03}" for number in range(300)]


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (["a", "b"], ["a", "b", "c"], "only val has c"),
        (["a", "b", "x"], ["b", "c"], "only train has a, x; only val has c"),
        (["a", "b"], ["b", "a"], "the same classes in another order: class 0 of train is a, of val b"),
        (MANY, MANY[1:], "only train has class000"),
        (MANY, ["other"],
         "only train has class000, class001, class002, class003, class004 and 295 more; only val has other"),
        (["a" * 1000, "b"], ["b"], f"only train has {'a' * 59}…"),
        (["a", "a"], ["a"], "train has 2 classes, val 1: names are there more than once"),
        ([DECOMPOSED, "b"], ["b", COMPOSED],
         f"the same classes in another order: class 0 of train is {COMPOSED}, of val b"),
    ],
)  # fmt: skip
def test_only_the_difference_is_told(first: list[str], second: list[str], told: str) -> None:
    assert not are_same(first, second)
    assert differ(first, "train", second, "val") == told


def test_one_name_in_two_spellings_is_one_name() -> None:
    assert are_same([DECOMPOSED, "b"], [COMPOSED, "b"])
    assert by_known([DECOMPOSED, "new"], [COMPOSED]) == {DECOMPOSED: COMPOSED, "new": "new"}
    assert merged([DECOMPOSED, "b"]) == {DECOMPOSED: DECOMPOSED, "b": "b"}  # as before: it resumes
    both = merged([DECOMPOSED, COMPOSED])
    assert both == {DECOMPOSED: COMPOSED, COMPOSED: COMPOSED}
    (note,) = merged_notes(both)
    assert r"'caf\xe9'" in note
    assert r"'cafe\u0301'" in note


def _node(name: str, **options: object) -> dict[str, object]:
    return {"name": name, "num_workers": 0, **options}


def test_folders_of_train_and_val_in_two_spellings_are_one_class(image_files: Callable[..., Path]) -> None:
    names = [f"train/{DECOMPOSED}/{k}.jpg" for k in range(3)] + [f"val/{COMPOSED}/1.jpg", "train/thé/1.jpg"]
    splits = load(_node("image_folder", root=str(image_files("data", *names, "val/thé/1.jpg"))))
    assert splits.train.class_names == (DECOMPOSED, "thé")
    assert splits.val is not None
    assert splits.val.class_names == splits.train.class_names
    assert [splits.val.sample_name(index) for index in range(2)] == [f"{COMPOSED}/1.jpg", "thé/1.jpg"]
    assert splits.val.targets.tolist() == [0, 1]


def test_two_folders_of_one_class_are_merged_with_a_note(image_files: Callable[..., Path]) -> None:
    names = [f"{name}/{k}.jpg" for name in (DECOMPOSED, COMPOSED, "thé") for k in range(3)]
    splits = load(_node("image_folder", root=str(image_files("data", *names))))
    assert splits.train.class_names == ("thé", COMPOSED) or splits.train.class_names == (COMPOSED, "thé")
    assert any("one class" in note for note in splits.notes)


def test_file_names_in_another_spelling_have_their_class(image_files: Callable[..., Path]) -> None:
    root = image_files("data", *(f"{name}.{k}.jpg" for name in (DECOMPOSED, "dog") for k in range(3)))
    splits = load(_node("dogcat", root=str(root), classes=[COMPOSED, "dog"]))
    assert splits.train.class_names == (COMPOSED, "dog")


def test_classes_of_validation_alone_are_named(image_files: Callable[..., Path]) -> None:
    root = image_files("data", "train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg", "val/c/1.jpg")
    with pytest.raises(ConfigError) as refused:
        load(_node("image_folder", root=str(root / "train"), val_root=str(root / "val")))
    assert "only" in str(refused.value)
    assert str(refused.value).endswith("has c")
