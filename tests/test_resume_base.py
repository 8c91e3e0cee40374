"""checkpoint.resume=RUN alone: the run's own config, its data as they were, and what its folder has lost."""

import os
import shutil
from pathlib import Path

import pytest
import yaml

from expkit.cli.run import main as run
from expkit.config.compose import compose_one, plain
from expkit.core.errors import ConfigError
from expkit.core.lock import FolderLock
from expkit.records.integrity import check_record
from expkit.records.report.report import report_of
from expkit.records.run_folder import RunFolder
from tests import killed

IS_LONG = os.environ.get("EXPKIT_LONG") == "1"
COMMON = ["dataset=image_folder", "dataset.num_workers=0", "transforms.image_size=16", "model.width=4", "logger=none",
          "batch_size=4", "optimizer=sgd", "optimizer.lr=0.05", "schedule=one_cycle", "epochs=1"]  # fmt: skip


def start(arguments: list[str]) -> int:
    try:
        run(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with pictures, those to validate apart, and a finished run."""
    place = tmp_path_factory.mktemp("resumed")
    for split, count in (("train", 6), ("val", 3)):
        killed.draw(place / "pets" / split, count)
    root = [f"dataset.root={place}/pets/train", f"dataset.val_root={place}/pets/val"]
    assert start([*COMMON, *root, f"output_dir={place}/outputs"]) == 0
    return place


@pytest.fixture
def place(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of it, which lies where the working folder is; its data lie there too."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def only(place: Path) -> Path:
    (folder,) = (place / "outputs").iterdir()
    return folder


def here(place: Path) -> list[str]:
    return [f"dataset.root={place}/pets/train", f"dataset.val_root={place}/pets/val"]


def test_the_config_of_the_run_is_the_base(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = only(place)
    whole = plain(compose_one([f"checkpoint.resume={folder}"]))
    assert (whole["optimizer"]["name"], whole["optimizer"]["lr"], whole["model"]["width"]) == ("sgd", 0.05, 4)
    assert whole["checkpoint"]["resume"] == str(folder)
    again = plain(compose_one([*COMMON, *here(place), f"checkpoint.resume={folder}", "+transforms.train=[]", "~watch"]))
    assert (again["optimizer"], again["transforms"]["train"]) == (whole["optimizer"], [])
    assert "watch" not in again
    other = plain(compose_one([f"checkpoint.resume={folder}", "optimizer=adamw", "epochs=7"]))
    assert (other["optimizer"]["name"], other["epochs"], other["batch_size"]) == ("adamw", 7, 4)
    assert other["optimizer"]["lr"] != 0.05  # of the file conf/optimizer/adamw.yaml
    with pytest.raises(ConfigError, match="epoch: the config has no such key; did you mean 'epochs'"):
        compose_one([f"checkpoint.resume={folder}", "epoch=7"])
    assert start([f"checkpoint.resume={folder}"]) == 0
    assert "nothing is left to do (raise epochs=" in capsys.readouterr().out
    assert start([f"checkpoint.resume={folder}", "epochs=2", *here(place)]) == 0
    log = (folder / "log.txt").read_text()
    assert "note: the learning rate rises from" in log
    assert yaml.safe_load((folder / "config.yaml").read_text())["epochs"] == 2
    assert check_record(folder)[0] == []


LOST = [["config.yaml", "record.json", "metrics.jsonl"], ["config.yaml"], ["record.json"]]


@pytest.mark.parametrize("lost", LOST if IS_LONG else LOST[:1])
def test_a_run_that_lost_files_goes_on(lost: list[str], place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = only(place)
    for name in lost:
        (folder / name).unlink()
    assert start([f"checkpoint.resume={folder}", "epochs=2", *here(place)]) == 0
    captured = " ".join(capsys.readouterr().out.split())
    for name in lost:
        assert name in captured
        assert name in (folder / "log.txt").read_text()
    assert check_record(folder)[0] == []
    assert yaml.safe_load((folder / "config.yaml").read_text())["optimizer"]["lr"] == 0.05


def test_what_is_left_of_the_points_is_kept(place: Path) -> None:
    folder = only(place)
    lines = (folder / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_bytes(lines[0] + b'{"kind": "st' + b"\xff\n" + lines[-1][:9])
    assert start([f"checkpoint.resume={folder}", "epochs=2", *here(place)]) == 0
    found = (folder / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    assert found[0] == lines[0]
    assert b'"epoch": 1' in found[1]
    assert "metrics.jsonl had lost points of the steps up to 3: 1 are left" in (folder / "log.txt").read_text()


def test_checkpoints_that_are_gone_do_not_begin_anew(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = only(place)
    points = (folder / "metrics.jsonl").read_bytes()
    shutil.rmtree(folder / "checkpoints")
    assert start([f"checkpoint.resume={folder}", *here(place)]) == 2
    assert "are gone, so there is nothing to resume from; remove checkpoint.resume" in capsys.readouterr().err
    assert (folder / "metrics.jsonl").read_bytes() == points


def exchange(pets: Path) -> None:
    os.replace(pets / "train/cat/0.jpg", pets / "train/dog/0.jpg.tmp")
    os.replace(pets / "train/dog/0.jpg", pets / "train/cat/0.jpg")
    os.replace(pets / "train/dog/0.jpg.tmp", pets / "train/dog/0.jpg")


def grow(pets: Path) -> None:
    shutil.copy(pets / "val/cat/0.jpg", pets / "val/cat/another.jpg")


def rename(pets: Path) -> None:
    os.replace(pets / "train/cat/0.jpg", pets / "train/cat/zero.jpg")


CHANGES = [
    (exchange, "train: 12 images before, 12 images: 2 changed (cat/0.jpg, dog/0.jpg) now"),
    (grow, "val: 6 images before, 7 images: 1 added (cat/another.jpg) now"),
    (rename, "train: 12 images before, 12 images: 1 added (cat/zero.jpg), 1 removed (cat/0.jpg) now"),
]


@pytest.mark.parametrize(("change", "told"), CHANGES if IS_LONG else CHANGES[1:2])
def test_data_that_changed_need_force(
    change: object, told: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    folder = only(place)
    assert callable(change)
    change(place / "pets")
    record = (folder / "record.json").read_bytes()
    words = [f"checkpoint.resume={folder}", "epochs=2", *here(place)]
    assert start(words) == 2
    assert f"{told}; the result will differ too, and checkpoint.force=true" in capsys.readouterr().err
    assert (folder / "record.json").read_bytes() == record
    FolderLock(folder).release()  # the refusal has given it free
    assert start([*words, "checkpoint.force=true"]) == 0
    assert told in " ".join(capsys.readouterr().out.split())
    assert told in (folder / "log.txt").read_text()
    assert told in report_of(RunFolder(folder)).replace("&#39;", "'")
    assert check_record(folder)[0] == []
    assert start([f"checkpoint.resume={folder}", "epochs=3", *here(place)]) == 0  # once is enough


def test_a_refusal_gives_the_folder_free(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = only(place)
    (place / "pets/train/cat/0.jpg").unlink()
    assert start([f"checkpoint.resume={folder}", "epochs=2", *here(place)]) == 2
    assert "the data differ" in capsys.readouterr().err
    FolderLock(folder).release()
