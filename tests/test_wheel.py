"""The wheel holds what a run needs, and runs from any folder (EXPKIT_LONG=1: it is built, with its build tools)."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_extra_all_is_all_of_them() -> None:
    extras = PROJECT["optional-dependencies"]
    parts = [one.partition(";")[0].strip() for one in extras["all"]]  # visdom only where it installs by itself
    everything = [name for part in parts for name in part.removeprefix("expkit[").removesuffix("]").split(",")]
    assert set(everything) == extras.keys() - {
        "all",
        "slurm",
        "ray",
    }  # launchers of clusters


def test_the_licence_is_there() -> None:
    assert PROJECT["license"] == "MIT"
    assert all((ROOT / name).read_text().startswith("MIT License") for name in PROJECT["license-files"])


def run(folder: Path, *command: str, path: Path) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder, capture_output=True, text=True, timeout=300, env=os.environ | {"PYTHONPATH": str(path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif("EXPKIT_LONG" not in os.environ, reason="EXPKIT_LONG is not set: building takes a network and time")
def test_the_wheel_runs_from_an_empty_folder(tmp_path: Path) -> None:
    uv = ROOT / ".uv/bin/uv"
    command = [str(uv) if uv.exists() else "uv", "build", "--wheel", "--out-dir", str(tmp_path / "dist"), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert built.returncode == 0, built.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "unpacked")
        names = set(archive.namelist())
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "expkit").rglob("*") if path.is_file()}
    kept = {name for name in sources if "__pycache__" not in name}
    configs = {f"expkit/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "conf").rglob("*.yaml")}
    assert kept | configs <= names
    assert {
        "expkit/py.typed",
        "expkit/cli/new_project/templates/gitignore",
        "expkit/cli/completion/complete.bash",
    } <= names
    assert not any(name.startswith("tests/") for name in names)
    (empty := tmp_path / "empty").mkdir()
    place = run(empty, "-c", "import expkit; print(expkit.__file__)", path=tmp_path / "unpacked")
    assert str(tmp_path / "unpacked") in place
    run(empty, "-m", "expkit.run", "experiment=debug", "dataset.train_images=20", "dataset.val_images=10",
        path=tmp_path / "unpacked")  # fmt: skip
    run(empty, "-m", "expkit", "new", "x", path=tmp_path / "unpacked")
    assert (empty / "x/.gitignore").is_file()
