"""Files that are there whole or not at all."""

from pathlib import Path
from typing import BinaryIO

import pytest

from expkit.core.files import atomic_write, remove_temporary_files


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    assert atomic_write(path, lambda file: file.write(b"new")) == 3
    assert path.read_text() == "new"
    assert [one.name for one in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt()], ids=["error", "Ctrl+C"])
def test_what_ends_a_write_leaves_the_old_file_alone(error: BaseException, tmp_path: Path) -> None:
    def half(file: BinaryIO) -> None:
        file.write(b"ne")
        raise error

    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(type(error)):
        atomic_write(path, half)
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["a.json"]


def test_only_our_temporary_files_are_swept(tmp_path: Path) -> None:
    for name in (".a.json.123.tmp", ".epoch_0001.safetensors.9.tmp", "a.json", "notes.tmp", ".mine.tmp", ".x.1.tmp~"):
        (tmp_path / name).write_text("")
    remove_temporary_files(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mine.tmp", ".x.1.tmp~", "a.json", "notes.tmp"]
    remove_temporary_files(tmp_path / "none")
