import io
import json
import zipfile
from pathlib import Path

import pytest

from expkit.core.errors import ConfigError
from expkit.records.export import export
from expkit.records.integrity import check_record
from expkit.records.shared_record import LARGEST_TEXT, read_points, read_record
from expkit.records.writer import Record


def test_folder_zip_and_single_file_say_the_same(record: Record, tmp_path: Path) -> None:
    record.close("finished", {"steps": 2})
    for name in ("a.zip", "a.yaml"):
        export(record.folder, tmp_path / name)
    folder, zipped, single = (read_record(place) for place in (record.folder, tmp_path / "a.zip", tmp_path / "a.yaml"))
    assert folder.config == zipped.config == single.config
    assert folder.points == zipped.points == single.points
    assert folder.data["train"] == zipped.data["train"] == single.data["train"]
    assert folder.facts["id"] == zipped.name == single.name


def test_a_folder_zipped_by_hand_is_read(record: Record, tmp_path: Path) -> None:
    record.close("finished", {})
    with zipfile.ZipFile(tmp_path / "by_hand.zip", "w") as archive:
        for path in record.folder.rglob("*"):
            archive.write(path, f"some/run/{path.relative_to(record.folder)}")
    assert read_record(tmp_path / "by_hand.zip").points == read_record(record.folder).points
    assert check_record(tmp_path / "by_hand.zip")[0] == []


WICKED = {
    "reads the environment": ("seed: ${oc.env:HOME}\n", "may not read the environment"),
    "refers": ("seed: ${epochs}\n", "a record is resolved"),
    "names code": ("model: {_target_: os.system}\n", "may not name code"),
    "makes an object": ("seed: !!python/object/apply:os.system [ls]\n", "makes an object"),
    "alias bomb": ("a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"{y}: &{y} [{','.join([f'*{x}'] * 10)}]\n" for x, y in zip("abcdef", "bcdefg", strict=True)), "fewer aliases"),
    "deep": ("a: " + "[" * 60 + "]" * 60 + "\n", "nested deeper"),
    "large": ("a: '" + "x" * LARGEST_TEXT + "'\n", "is larger than"),
    "no mapping": ("- 1\n", "holds `key: value` lines"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["folder", "zip", "yaml"])
@pytest.mark.parametrize("case", WICKED)
def test_what_no_run_writes_is_refused(case: str, kind: str, tmp_path: Path) -> None:
    text, said = WICKED[case]
    place = tmp_path / f"r.{kind}"
    if kind == "folder":
        place.mkdir()
        (place / "config.yaml").write_text(text)
    elif kind == "zip":
        with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("record.json", "{}")
            archive.writestr("config.yaml", text)
    elif case == "no mapping":
        place.write_text(text)
    else:
        place.write_text("config:\n" + "".join(f"  {line}\n" for line in text.splitlines()))
    with pytest.raises(ConfigError, match=said):
        read_record(place)


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("record.json", "{}")
        for number in range(6):
            archive.writestr(f"{number}", b"\0" * 100_000_000)
    (tmp_path / "bomb.zip").write_bytes(buffer.getvalue())
    with pytest.raises(ConfigError, match="would unpack to more than"):
        read_record(tmp_path / "bomb.zip")


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "[]", "1"])
def test_json_that_no_run_writes_is_refused(text: str, record: Record) -> None:
    (record.folder / "env.json").write_text(text)
    with pytest.raises(ConfigError, match=r"env\.json"):
        read_record(record.folder)


def test_what_is_no_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    (tmp_path / "a.zip").write_text("no zip")
    (tmp_path / "a.yaml").write_text("seed: 1\n")
    told = {"none": "there is no", "a.txt": "is no run folder", "a.zip": "is not a .zip", ".": "holds no config"}
    for name, said in (told | {"a.yaml": "lacks `config:`"}).items():
        with pytest.raises(ConfigError, match=said):
            read_record(tmp_path / name)


def test_an_unfinished_last_line_is_passed_over() -> None:
    whole = json.dumps({"kind": "step", "step": 1, "loss": 0.5})
    assert len(read_points(f'{whole}\n{{"kind": "step", "st'.encode())) == 1
