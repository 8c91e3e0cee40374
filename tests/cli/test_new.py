"""A new project trains at once with the commands that `expkit.cli.new_project` prints, and its own test passes."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from expkit.cli.new_project.project import CONTENTS, make
from expkit.core.errors import ConfigError
from tests.forks import Forks

ROOT = Path(__file__).parents[2]


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder, capture_output=True, text=True, timeout=240, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A project, and what the command printed."""
    folder = tmp_path_factory.mktemp("new")
    done = run(folder, "-m", "expkit", "new", "leaf_spots")
    assert done.returncode == 0, done.stderr
    return folder / "leaf_spots", done.stdout


def commands_in(printed: str) -> list[list[str]]:
    """Return the printed commands, without their comments."""
    return [shlex.split(line, comments=True) for line in printed.partition("next\n")[2].splitlines()]


def test_the_printed_commands_work(project: tuple[Path, str]) -> None:
    folder, printed = project
    change, train, options, test = commands_in(printed)
    assert change == ["cd", "leaf_spots"]
    trained = run(folder, *train[1:], "epochs=1", "dataset.images=60")
    assert trained.returncode == 0, trained.stderr
    (record,) = (folder / "outputs").glob("*/record.json")
    assert json.loads(record.read_text())["status"] == "finished"
    listed = run(folder, *options[1:])
    assert "width" in listed.stdout
    assert "Three convolutions" in listed.stdout
    tested = run(folder, *test[1:], "-q", "-p", "no:xdist", "-W", "error")
    assert tested.returncode == 0, tested.stdout
    assert "1 passed" in tested.stdout


def test_everything_is_there_and_named(project: tuple[Path, str]) -> None:
    folder, printed = project
    for name, content in CONTENTS.items():
        path = name.replace("my_project", "leaf_spots").replace("gitignore", ".gitignore")
        assert "my_project" not in (folder / path).read_text()
        assert f"  {path:34}{content}\n" in printed


def test_the_readme_names_what_there_is(commands: Forks, project: tuple[Path, str]) -> None:
    folder, _ = project
    lines = [shlex.split(line, comments=True) for line in (folder / "README.md").read_text().splitlines()
             if line.startswith("python -m expkit.run")]  # fmt: skip
    assert len(lines) == 3
    for line in lines:
        done = commands.run(folder, *line[3:], "--help")
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("my-project", "e.g. my_project"),
        ("3d", "e.g. _3d"),
        ("Été", "small letters"),
        ("class", "a Python keyword"),
        ("tests", "folder in every project"),
        ("torch", "would hide"),
        ("json", "would hide"),
        ("expkit", "would hide"),
    ],
)
def test_a_bad_name_is_refused(name: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=told):
        make(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("all of it")
    done = run(tmp_path, "-m", "expkit", "new", "mine")
    assert done.returncode == 2
    assert done.stderr == "error: expkit new: 'mine' is there already, and not empty; give another name, or empty it\n"
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    assert set(make(tmp_path / "x")) >= {"x.py", ".gitignore", "conf/experiment/first.yaml"}  # an x of its own stays


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="cannot write"):
        make(tmp_path / "mine")
