"""Duplicates: exact and near, within and across splits, with one label or several."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from expkit.data.datasets import load
from expkit.doctor import duplicates
from expkit.doctor.duplicates import Group, connected, find_groups, judge, near_pairs
from expkit.doctor.scan import Collection, Reading, Scan, scan
from tests.doctor.drawn import picture, reading, write


@pytest.fixture
def pets(tmp_path: Path) -> Scan:
    """Splits with: an exact leak, a near leak, an exact pair of two labels, a near pair within train."""
    train = write(tmp_path / "train", *(f"{name}/{number}.jpg" for name in ("cat", "dog") for number in range(4)))
    val = write(tmp_path / "val", "cat/a.jpg", "dog/a.jpg", "dog/b.jpg", first_seed=50)
    (val / "cat/leak.jpg").write_bytes((train / "cat/0.jpg").read_bytes())
    picture(1).save(val / "cat/near.jpg", quality=60)
    (train / "dog/torn.jpg").write_bytes((train / "cat/2.jpg").read_bytes())
    picture(7).resize((60, 50)).save(train / "dog/smaller.jpg")
    splits = load({"name": "image_folder", "root": str(train), "val_root": str(val)})
    return scan(Collection(splits), 2, timeout=30)


def names(found: Scan, group: Group) -> list[str]:
    return [found.collection.name(number) for number in group.samples]


def test_groups_are_found_the_exact_ones_first(pets: Scan) -> None:
    groups = find_groups(pets.collection, pets.readings, threads=2)
    assert [(group.kind, names(pets, group), group.leaks, group.contradicts) for group in groups] == [
        ("exact", ["cat/0.jpg", "cat/leak.jpg"], True, False),
        ("exact", ["cat/2.jpg", "dog/torn.jpg"], False, True),
        ("near", ["cat/1.jpg", "cat/near.jpg"], True, False),
        ("near", ["dog/3.jpg", "dog/smaller.jpg"], False, False),
    ]


def test_leaks_and_contradictions_are_problems_and_copies_in_a_split_a_note(pets: Scan) -> None:
    found = judge(find_groups(pets.collection, pets.readings), pets.collection, "dataset.exclude=x")
    assert [(one.level, one.sentence.split(":")[0], one.remedy) for one in found] == [
        ("problem", "exact copies in train and in val, so the val score is too high", "dataset.exclude=x"),
        ("problem", "exact copies with different labels", "dataset.exclude=x"),
        ("problem", "near copies in train and in val, so the val score is too high", "dataset.exclude=x"),
        ("note", "near copies within a split", ""),
    ]
    assert "cat/0.jpg (train, cat), cat/leak.jpg (val, cat)" in found[0].sentence


def test_surplus_leaves_one_image_in_validation_and_none_where_labels_differ() -> None:
    leak = Group("exact", (3, 5, 8, 9), ("train", "train", "val", "val"), ("cat",) * 4)
    inside = Group("near", (3, 5), ("train", "train"), ("cat", "cat"))
    torn = Group("exact", (3, 5, 8), ("train", "train", "val"), ("cat", "dog", "cat"))
    assert leak.surplus() == (3, 5, 9)
    assert inside.surplus() == (5,)
    assert torn.surplus() == (3, 5, 8)
    assert leak.examples()[:2] == [3, 8]


def test_blocks_find_what_comparing_one_by_one_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = [reading(picture(seed % 30, (96 - seed % 7, 80 - seed // 30))) for seed in range(70)]
    monkeypatch.setattr(duplicates, "_BLOCK", 200)  # blocks of two rows
    expected = [(a, b) for a, b in itertools.combinations(range(len(readings)), 2) if alike(readings[a], readings[b])]
    assert len(expected) >= 40
    assert sorted(map(tuple, near_pairs(readings, threads=2).tolist())) == expected


def alike(one: Reading, other: Reading) -> bool:
    """Say by the plain formula whether two readings are near copies."""
    bits = (one.perceptual ^ other.perceptual).bit_count()
    first, second = one.thumbnail.astype(float), other.thumbnail.astype(float)
    contrast = np.abs(first - first.mean()).mean()
    return bits <= 8 and bool(np.abs(first - second).mean() <= max(1, 0.06 * contrast))


def test_drawings_that_agree_in_their_hash_alone_are_not_duplicates() -> None:
    one = picture(3)
    other = one.point(lambda level: 255 - (255 - level) // 3)
    first, second = reading(one), reading(other)
    assert (first.perceptual ^ second.perceptual).bit_count() <= duplicates.LARGEST_BITS
    assert len(near_pairs([first, second])) == 0


def test_nothing_to_compare() -> None:
    assert near_pairs([]).shape == (0, 2)
    assert near_pairs([reading(picture(0))]).shape == (0, 2)


def test_pairs_connect_to_groups() -> None:
    assert connected([(5, 9), (1, 2), (9, 3), (2, 7), (3, 5)]) == [[1, 2, 7], [3, 5, 9]]
    assert connected([]) == []
