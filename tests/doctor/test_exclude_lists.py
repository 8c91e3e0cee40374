"""The lists of what to leave out: a run can read them, and none is written for nothing."""

import json
from pathlib import Path

import pytest

from expkit.data.bad_files import read_bad_files, write_bad_files
from expkit.data.datasets import load
from expkit.doctor.duplicates import find_groups
from expkit.doctor.exclude_lists import write_duplicates, write_lists
from expkit.doctor.scan import Collection, Scan, scan
from tests.doctor.drawn import write


@pytest.fixture
def pets(tmp_path: Path) -> Scan:
    train = write(tmp_path / "train", "cat/0.jpg", "cat/1.jpg", "dog/0.jpg", "dog/1.jpg")
    val = write(tmp_path / "val", "cat/2.jpg", "dog/2.jpg", first_seed=20)
    (train / "cat/1.jpg").write_bytes(b"")
    (val / "dog/leak.jpg").write_bytes((train / "dog/0.jpg").read_bytes())
    splits = load({"name": "image_folder", "root": str(train), "val_root": str(val)})
    return scan(Collection(splits), 1, timeout=30)


def test_both_lists_can_be_read_by_a_run(pets: Scan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    fixes = write_lists(Path("out"), pets, find_groups(pets.collection, pets.readings), None)
    assert (fixes.bad, fixes.surplus) == ("dataset.exclude=out/bad_files.json", "dataset.exclude=out/exclude.json")
    assert fixes.best == fixes.surplus
    assert read_bad_files("out/bad_files.json") == {"cat/1.jpg": "the file is empty"}
    assert read_bad_files("out/exclude.json") == {
        "cat/1.jpg": "the file is empty",
        "dog/0.jpg": "the same as dog/leak.jpg",
    }


def test_what_was_excluded_before_stays_excluded(pets: Scan, tmp_path: Path) -> None:
    write_bad_files(tmp_path / "earlier.json", {"dog/9.jpg": "was bad"})
    write_lists(tmp_path, pets, [], str(tmp_path / "earlier.json"))
    assert set(read_bad_files(str(tmp_path / "bad_files.json"))) == {"dog/9.jpg", "cat/1.jpg"}


def test_no_list_is_written_for_nothing(pets: Scan, tmp_path: Path) -> None:
    pets.bad.clear()
    fixes = write_lists(tmp_path, pets, [], None)
    assert fixes.best == ""
    assert not list(tmp_path.glob("*.json"))


def test_duplicates_are_written_with_where_they_lie(pets: Scan, tmp_path: Path) -> None:
    write_duplicates(tmp_path, find_groups(pets.collection, pets.readings), pets.collection)
    (group,) = json.loads((tmp_path / "duplicates.json").read_text())
    assert (group["kind"], group["leak"], group["labels_differ"]) == ("exact", True, False)
    assert [image["split"] for image in group["images"]] == ["train", "val"]
    assert all(Path(image["location"]).is_file() for image in group["images"])
