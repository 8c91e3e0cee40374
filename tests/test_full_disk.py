"""Whatever a command writes, a disk without room is a sentence; and a run whose disk fills up says how it ended."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

import expkit
from expkit.cli.compare import main as compare
from expkit.cli.doctor import main as doctor
from expkit.cli.evaluate import main as evaluate
from expkit.cli.export import main as export
from expkit.cli.find_lr import main as find_lr
from expkit.cli.predict import main as predict
from expkit.cli.report import main as report
from expkit.cli.reproduce import main as reproduce
from expkit.cli.run import main as run
from expkit.core.files import Reserve, append_line, overwrite
from expkit.records.integrity import check_record
from expkit.training.trainer import Trainer
from tests.inference.runs import overrides, trained_run

IS_LONG = os.environ.get("EXPKIT_LONG") == "1"
Main = Callable[[list[str]], object]
Small = Callable[[int], Path]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Small]:
    """Return a function that makes a disk of so many kilobytes."""
    made: list[Path] = []

    def make(kilobytes: int) -> Path:
        place = tmp_path / f"disk{len(made)}"
        place.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)]
        if os.name != "posix" or subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("mounting a small disk takes root")
        made.append(place)
        return place

    yield make
    for place in made:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path) -> None:
    try:
        with open(disk / "other", "ab", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    except OSError:
        return


def code_of(main: Main, *arguments: str | Path) -> int:
    try:
        main([str(one) for one in arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> expkit.Run:
    folder = tmp_path_factory.mktemp("full")
    done = trained_run(folder, "epochs=1")
    Image.new("RGB", (32, 32), (200, 30, 30)).save(folder / "one.png")
    return done


WRITERS: dict[str, tuple[Main, list[str]]] = {
    "predict": (predict, ["RUN", "ROOT/one.png", "--workers", "0", "--output", "DISK/predictions.csv"]),
    "sheet": (predict, ["RUN", "ROOT/one.png", "--workers", "0", "--sheet", "DISK/sheet.png"]),
    "sorted": (predict, ["RUN", "ROOT/one.png", "--workers", "0", "--sort-into", "DISK/sorted"]),
    "evaluate": (evaluate, ["RUN", "--workers", "0", "--output", "DISK/evaluation"]),
    "zip": (reproduce, ["RUN", "--export", "DISK/run.zip"]),
    "yaml": (reproduce, ["RUN", "--export", "DISK/run.yaml"]),
    "safetensors": (export, ["RUN", "--to", "safetensors", "--output", "DISK/model.safetensors"]),
    "program": (export, ["RUN", "--to", "torch_export", "--output", "DISK/model.pt2"]),
    "state_dict": (export, ["RUN", "--to", "state_dict", "--output", "DISK/model.pt"]),
    "page": (compare, ["RUN", "--html", "DISK/compare.html"]),
    "table": (compare, ["RUN", "--html", "ROOT/compare.html", "--csv", "DISK/table.csv"]),
    "shapes": (run, ["dataset.root=DISK/shapes", "dataset.num_workers=0", "epochs=1", "output_dir=ROOT/outputs"]),
    "run": (run, ["WORDS", "output_dir=DISK/outputs"]),
    "cache": (run, ["WORDS", "dataset.cache=disk", "dataset.cache_dir=DISK/cache", "output_dir=ROOT/outputs"]),
    "sweep": (run, ["-m", "WORDS", "seed=1,2", "output_dir=DISK/outputs"]),
    "find_lr": (find_lr, ["WORDS", "--steps", "12", "--out", "DISK/rates.png"]),
    "doctor": (doctor, ["WORDS", "output_dir=DISK/outputs"]),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS if IS_LONG else ["predict", "zip", "state_dict", "shapes", "run"])
def test_no_room_is_a_sentence(name: str, small: Small, trained: expkit.Run, capfd: pytest.CaptureFixture[str]) -> None:
    disk, root = small(64), trained.folder.parent.parent
    main, words = WRITERS[name]
    fill(disk)
    given: list[str] = []
    for word in words:
        put = word.replace("RUN", str(trained.folder)).replace("ROOT", str(root)).replace("DISK", str(disk))
        given += [one for one in overrides(root) if "output_dir" not in one] if word == "WORDS" else [put]
    assert code_of(main, *given) in (1, 2)
    text = "".join(capfd.readouterr())
    assert "Traceback" not in text
    assert "No space left on device" in text or "no room" in text or "too little space" in text, text
    assert str(disk) in text
    assert len(text) < 3000


@pytest.mark.parametrize("room", [0, 8] if IS_LONG else [0])
def test_a_disk_that_fills_up_at_the_very_end(
    room: int, small: Small, trained: expkit.Run, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """room: blocks that are left, so that the last checkpoint is whole, and what follows it is not."""
    disk, root = small(1500), trained.folder.parent.parent
    original = Trainer.run

    def run_and_fill(trainer: Trainer) -> None:
        original(trainer)
        trainer.observers.checkpoints and trainer.observers.checkpoints.wait()
        fill(disk)
        os.truncate(disk / "other", (disk / "other").stat().st_size - 4096 * room)

    monkeypatch.setattr(Trainer, "run", run_and_fill)
    words = [one for one in overrides(root) if "output_dir" not in one]
    assert code_of(run, *words, f"output_dir={disk}/outputs") == 0
    (folder,) = (disk / "outputs").iterdir()
    assert json.loads((folder / "record.json").read_text())["status"] == "finished"
    assert check_record(folder)[0] == []
    assert not (folder / ".reserved").exists()
    assert "Traceback" not in "".join(capfd.readouterr())
    monkeypatch.undo()
    assert code_of(report, folder) in (0, 2)
    (disk / "other").unlink()
    assert code_of(run, *words, f"output_dir={disk}/outputs", f"checkpoint.resume={folder}", "epochs=3") == 0
    assert check_record(folder)[0] == []


def test_a_disk_that_fills_up_in_the_midst(
    small: Small, trained: expkit.Run, capfd: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    disk, root = small(700), trained.folder.parent.parent
    words = [one for one in overrides(root) if "output_dir" not in one]
    keep = ["checkpoint.keep_last=99", "epochs=99"]
    assert code_of(run, *words, *keep, f"output_dir={disk}/outputs") == 1
    (folder,) = (disk / "outputs").iterdir()
    facts = json.loads((folder / "record.json").read_text())
    assert facts["status"] == "failed"
    assert "was not written: there is too little space" in facts["reason"]
    assert check_record(folder)[0] == []
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_reserve_is_room_for_what_comes_last(small: Small) -> None:
    disk = small(64)
    reserve = Reserve(disk, 16_384)
    reserve.take()
    (disk / "old").write_bytes(b"x" * 1000)
    append_line(disk / "lines", b"one")
    fill(disk)
    with pytest.raises(OSError, match=r"No space left on device: .*lines"):
        append_line(disk / "lines", b"y" * 8192)
    assert (disk / "lines").read_bytes() == b"one\n"
    assert overwrite(disk / "old", b"y" * 2000)
    assert not overwrite(disk / "old", b"z" * 5000)
    assert (disk / "old").read_bytes() == b"y" * 2000
    reserve.release()
    append_line(disk / "lines", b"y" * 8192)
