"""Names that are not UTF-8, consoles of any encoding, no home and a user without a name: all commands work."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.forks import Forks, forks

LONG_ONLY = pytest.mark.skipif(os.environ.get("EXPKIT_LONG") != "1", reason="takes minutes: EXPKIT_LONG=1 runs it")

DATA = [
    "dataset=image_folder",
    "dataset.root=data",
    "dataset.num_workers=0",
    "dataset.on_bad=skip",
    "dataset.max_bad=0.5",
]
SMALL = [*DATA, "model.width=4", "epochs=1", "batch_size=4", "name=any"]
RUN = ("expkit.cli.run", [*SMALL, "watch=default", "logger=tensorboard"])
SHORT = [
    ("expkit.cli.predict", ["RUN", "data"], 1), ("expkit.cli.predict", ["RUN", "data", "--format", "csv"], 1),
    ("expkit.cli.compare", ["outputs", "--csv", "a.csv"], 0), ("expkit.cli.reproduce", ["RUN", "--check"], 0),
    ("expkit.cli.report", ["RUN"], 0), ("expkit.cli.run", [*SMALL, "checkpoint.resume=RUN", "epochs=2"], 0),
]  # fmt: skip
LONG = [
    ("expkit.cli.doctor", DATA, 1), ("expkit.cli.evaluate", ["RUN"], 1), ("expkit.cli.find_lr", SMALL, 0),
    ("expkit.cli.export", ["RUN", "--to", "state_dict"], 0), ("expkit.cli.reproduce", ["RUN", "--export", "x.zip"], 0),
    ("expkit.cli.run", ["-m", *SMALL, "seed=0,1", "logger=none", "watch=none"], 0),
    ("expkit.cli.run", [*SMALL, "dataset.cache=disk"], 0), ("expkit.cli.run", [*SMALL, "dataset.num_workers=2"], 0),
    ("expkit.cli.run", [*SMALL, "dataset.exclude=RUN/bad_files.json", "dataset.on_bad=fail"], 0),
]  # fmt: skip


@pytest.fixture
def odd_names(tmp_path: Path) -> Path:
    """A working folder with data whose folders and files are in UTF-8, Latin-1 and neither."""
    root = os.fsencode(tmp_path / "data")
    for number, name in enumerate((b"caf\xe9", "größe 猫".encode(), b"dog")):
        os.makedirs(root + b"/" + name)
        for k in range(6):
            place = b"/im\xff%d.jpg" % k if k % 2 else "/猫 %d.jpg".encode() % k
            with open(root + b"/" + name + place, "wb") as file:
                Image.effect_noise((32, 32), 60 + number).convert("RGB").save(file, "jpeg")
        with open(root + b"/" + name + b"/bad\xe9.jpg", "wb") as file:
            file.write(b"no image")
    return tmp_path


def _all_work(
    started: Forks, folder: Path, environment: dict[str, str], commands: list[tuple[str, list[str], int]]
) -> None:
    done = started.run(folder, *RUN[1], environment=environment)
    assert done.returncode == 0, done.stderr
    (run,) = (str(path.relative_to(folder)) for path in folder.glob("outputs/any_*"))
    for module, arguments, code in commands:
        given = [word.replace("RUN", run) for word in arguments]
        done = started.run(folder, *given, module=module, environment=environment)
        assert "Traceback" not in done.stderr, (module, arguments, done.stderr)
        assert done.returncode == code, (module, arguments, done.stdout, done.stderr)


@pytest.mark.parametrize("encoding", ["ascii", pytest.param("cp1252", marks=LONG_ONLY)])
def test_a_console_of_any_encoding(encoding: str, commands: Forks, odd_names: Path) -> None:
    _all_work(commands, odd_names, {"PYTHONIOENCODING": encoding}, SHORT)


@LONG_ONLY
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
def test_every_command_on_a_console_of_any_encoding(encoding: str, commands: Forks, odd_names: Path) -> None:
    _all_work(commands, odd_names, {"PYTHONIOENCODING": encoding}, SHORT + LONG)


@pytest.fixture(scope="module")
def in_the_c_locale() -> Iterator[Forks]:
    """Commands of a Python that takes all text for ASCII, of a user without a name and without a home."""
    environment = {key: value for key, value in os.environ.items() if key not in ("HOME", "LANG", "XDG_CACHE_HOME")}
    environment |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    unshare = [shutil.which("unshare") or "unshare", "-U", "--map-user=12345"]
    try:
        subprocess.run([*unshare, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        unshare = []
    with forks(environment, unshare) as started:
        yield started


@LONG_ONLY
def test_the_c_locale_without_home_and_name(in_the_c_locale: Forks, odd_names: Path) -> None:
    _all_work(in_the_c_locale, odd_names, {}, SHORT + LONG)
