"""The command: its exit codes, what it writes, wrong input, files that hang or kill, Ctrl+C."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from expkit.cli.doctor import main
from expkit.data.bad_files import read_bad_files
from tests.doctor.drawn import write

PLUGIN = """
import os
import signal
import time
from pathlib import Path

from expkit.data.dataset import ImageDataset, Splits
from expkit.data.datasets.image_folder import read_folders
from expkit.config.registry import datasets


class Hostile(ImageDataset):
    def __init__(self, inner):
        self.inner, self.targets, self.class_names = inner, inner.targets, inner.class_names

    def sample_name(self, index):
        return self.inner.sample_name(index)

    def location(self, index):
        return self.inner.location(index)

    def image(self, index):
        if "hangs" in self.sample_name(index):
            time.sleep(600)
        if "kills" in self.sample_name(index):
            os.kill(os.getpid(), signal.SIGSEGV)
        return self.inner.image(index)


@datasets.register("hostile")
def hostile(root: str) -> Splits:
    "Image folders with files that hang or kill, by their names."
    return Splits(Hostile(read_folders(Path(root), "dataset.root")))
"""


@pytest.fixture
def pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten good images in two classes, in pets/ of the folder where the command is given."""
    monkeypatch.chdir(tmp_path)
    return write(tmp_path / "pets", *(f"{name}/{number}.jpg" for name in ("cat", "dog") for number in range(5)))


@pytest.fixture
def hostile(pets: Path) -> list[str]:
    """The command's arguments for a data set of which one file hangs and one kills its reader."""
    for name in ("cat/hangs.jpg", "dog/kills.jpg"):
        shutil.copy(pets / "cat/0.jpg", pets / name)
    conf = pets.parent / "conf/dataset/hostile.yaml"
    conf.parent.mkdir(parents=True)
    conf.write_text("name: hostile\nroot: pets\ntimeout: 4\nnum_workers: 1\n")
    (pets.parent / "mine.py").write_text(PLUGIN)
    return [sys.executable, "-m", "expkit", "doctor", "--plugin", "mine.py", "dataset=hostile"]


def doctor(*arguments: str) -> int:
    """Run the command in this process; return its exit code."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def only_folder() -> Path:
    (folder,) = Path("outputs/doctor").iterdir()
    return folder


def test_good_data_ends_with_0_and_says_where_everything_lies(pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor("dataset=image_folder", "dataset.root=pets", "dataset.num_workers=1") == 0
    printed = capsys.readouterr().out
    folder = only_folder()
    assert {path.name for path in folder.iterdir()} == {
        "duplicates.json", "findings.json", "samples.png", "transforms.png"
    }  # fmt: skip
    for path in folder.iterdir():
        assert f"see      {path}\n" in printed
    assert "verdict  nothing to fix, 0 notes" in printed
    assert "10 images (8 train, 2 val), 2 classes" in printed
    assert json.loads((folder / "duplicates.json").read_text()) == []
    assert json.loads((folder / "findings.json").read_text())["findings"] == []
    with Image.open(folder / "samples.png") as picture:
        assert picture.width > 1000
    assert {path.name for path in Path.cwd().iterdir()} == {"pets", "outputs"}


@pytest.mark.parametrize("device", ["auto", "multi_cpu"])
def test_notes_alone_end_with_0(device: str, pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (3, 4):
        (pets / f"dog/{number}.jpg").unlink()
    assert doctor("dataset=image_folder", "dataset.root=pets", "dataset.num_workers=1", f"device={device}") == 0
    printed = capsys.readouterr().out
    assert "note     classes: 4 images of cat, 2 of dog: 2.0 to 1\n         fix: sampler=class_balanced" in printed


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["dataset=dogact"], "did you mean 'dogcat'"),
        (["dataset=image_folder", "dataset.root=nowhere"], "dataset.root: there is no folder 'nowhere'"),
        (["model.widht=3"], "did you mean 'width'"),
        (["--plugin", "none.py"], "--plugin: there is no Python file 'none.py'"),
        (["--fast"], "--fast"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_wrong_input_ends_with_2_and_leaves_nothing(
    arguments: list[str], says: str, pets: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert doctor(*arguments) == 2
    errors = capfd.readouterr().err
    assert errors.splitlines()[-1].startswith("error: ") or "--fast" in errors
    assert says in errors
    assert "Traceback" not in errors
    assert not Path("outputs").exists()


def test_transforms_that_fail_are_a_finding_and_the_rest_is_reported(pets: Path) -> None:
    wrong = "transforms.train=[{name:RandomCrop,size:200}]"
    assert doctor("dataset=image_folder", "dataset.root=pets", "dataset.num_workers=1", wrong) == 1
    (found,) = json.loads((only_folder() / "findings.json").read_text())["findings"]
    assert found["about"] == "transforms"
    assert found["sentence"].startswith("transforms.train: cannot be applied")


def test_nothing_but_bad_files_is_reported_too(pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in pets.glob("*/*.jpg"):
        path.write_bytes(b"no image")
    assert doctor("dataset=image_folder", "dataset.root=pets", "dataset.num_workers=1") == 1
    assert "10 images cannot be read" in capsys.readouterr().out
    assert len(read_bad_files(str(only_folder()))) == 10


def test_files_that_hang_or_kill_are_named_and_the_rest_is_examined(hostile: list[str]) -> None:
    shutil.copy("pets/cat/1.jpg", "pets/dog/torn.jpg")
    done = subprocess.run(hostile, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr + done.stdout
    folder = only_folder()
    bad, more = f"dataset.exclude={folder}/bad_files.json", f"dataset.exclude={folder}/exclude.json"
    assert read_bad_files(f"{folder}/bad_files.json") == {
        "cat/hangs.jpg": "took longer than 4 s",
        "dog/kills.jpg": "killed the reader (SIGSEGV)",
    }
    assert {"cat/1.jpg", "dog/torn.jpg"} < set(read_bad_files(f"{folder}/exclude.json"))
    assert (
        f"problem  files: 2 images cannot be read: cat/hangs.jpg, dog/kills.jpg\n         fix: {bad}\n" in done.stdout
    )
    assert f"then     python -m expkit.run --plugin mine.py dataset=hostile {more}\n" in done.stdout
    assert json.loads((folder / "findings.json").read_text())["unreadable"] == 2


def test_ctrl_c_ends_it_at_once_and_leaves_nothing(hostile: list[str]) -> None:
    running = subprocess.Popen(
        [*hostile, "dataset.timeout=60"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    children = _wait_for_readers(running.pid)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "Traceback" not in errors
    assert not list(Path("outputs/doctor").iterdir())
    assert not any(Path(f"/proc/{child}").exists() for child in children)


def _wait_for_readers(parent: int) -> list[int]:
    """Wait until the command reads, and until only the file that hangs keeps it; return its readers."""
    deadline = time.monotonic() + 90
    listing = Path(f"/proc/{parent}/task/{parent}/children")
    while not Path("outputs/doctor").exists() or not listing.read_text().split():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(0.5)
    return [int(child) for child in listing.read_text().split()]


def test_help_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "usage: expkit doctor [options] [GROUP=CHOICE ...] [KEY=VALUE ...]" in printed
    assert "--plugin FILE" in printed
    assert "Exit codes: 0 done, 1 something should be fixed, 2 a mistake" in printed


def test_real_files_one_of_them_empty(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert doctor("dataset=dogcat", f"dataset.root={real_data}/dogcat_book/dogcat_wrong", "dataset.num_workers=1") == 1
    assert read_bad_files(str(only_folder())) == {"dog.wrong.jpg": "the file is empty"}
    assert "verdict  1 problem to fix" in capsys.readouterr().out


def test_hostile_real_files_do_not_stop_it(real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, source in (("bad", "bad_images"), ("good", "photos")):
        (tmp_path / "mixed").mkdir(exist_ok=True)
        (tmp_path / "mixed" / name).symlink_to(real_data / source)
    config = ["dataset=image_folder", "dataset.root=mixed", "transforms=imagenet", "dataset.timeout=20"]
    assert doctor(*config, "dataset.num_workers=1") == 1
    names = set(read_bad_files(str(only_folder())))
    assert {"bad/broken.png", "bad/truncated_jpeg.jpg"} <= names
    assert all(name.startswith("bad/") for name in names)
