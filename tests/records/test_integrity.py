import random
import shutil
from pathlib import Path

import pytest

from expkit.core.errors import ConfigError
from expkit.records.export import export
from expkit.records.integrity import check_record
from expkit.records.writer import Record


@pytest.fixture
def closed(record: Record) -> Path:
    (record.folder / "log.txt").write_text("epoch 1/1\n")
    record.close("finished", {"steps": 2, "scores": {"val/loss": 0.5}})
    return record.folder


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << random.Random(place).randrange(8)
    path.write_bytes(data)


def test_any_edited_byte_of_any_file_is_named(closed: Path, tmp_path: Path) -> None:
    """100 of 100: one byte each, of every file in turn."""
    draw = random.Random(0)
    names = sorted(
        path.relative_to(closed).as_posix() for path in closed.rglob("*") if path.is_file() and path.stat().st_size
    )
    assert {"record.json", "config.yaml", "metrics.jsonl", "result.json", "data_files.txt.gz"} <= set(names)
    named = 0
    for number in range(100):
        name = names[number % len(names)]
        copy = tmp_path / "copy"
        shutil.copytree(closed, copy)
        flip(copy / name, draw.randrange((copy / name).stat().st_size))
        faults, _ = check_record(copy)
        named += any(fault.startswith(f"{name}: was changed") for fault in faults)
        shutil.rmtree(copy)
    assert named == 100


@pytest.mark.parametrize("kind", ["zip", "yaml"])
def test_any_edited_byte_of_a_shared_file_is_noticed(closed: Path, tmp_path: Path, kind: str) -> None:
    target = tmp_path / f"shared.{kind}"
    export(closed, target)
    assert check_record(target)[0] == []
    whole, draw, noticed = target.read_bytes(), random.Random(1), 0
    for _ in range(100):
        flip(target, draw.randrange(len(whole)))
        try:
            noticed += bool(check_record(target)[0])
        except ConfigError:  # the .zip cannot be opened any more
            noticed += 1
        target.write_bytes(whole)
    assert noticed == 100


def test_a_missing_and_an_added_file_are_named(closed: Path) -> None:
    (closed / "data.json").unlink()
    (closed / "notes.txt").write_text("mine")
    faults, notes = check_record(closed)
    assert faults == ["data.json: is missing"]
    assert notes == ["added or written after the run: notes.txt"]


def test_an_edited_record_is_not_exported(closed: Path, tmp_path: Path) -> None:
    flip(closed / "metrics.jsonl", 5)
    with pytest.raises(ConfigError, match=r"metrics\.jsonl: was changed; edited records are not exported"):
        export(closed, tmp_path / "shared.zip")


def test_the_same_record_exports_the_same_bytes_without_the_log(closed: Path, tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        assert export(closed, tmp_path / name)[1] == ["log.txt"]
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
