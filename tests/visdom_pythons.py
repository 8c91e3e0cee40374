"""The Pythons of this machine, and the Visdom that each of them gets from pip."""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
VERSIONS = ("3.11", "3.12", "3.13")


@cache
def python_of(version: str) -> str:
    """Return an interpreter of a version that can install packages; skips the test where there is none."""
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        return sys.executable
    kept = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    found = [shutil.which(f"python{version}"), *map(str, kept)]
    for program in filter(None, found):
        asked = subprocess.run([program, "-c", "import ssl, sys; print(sys.version)"], capture_output=True, text=True)
        if asked.stdout.startswith(f"{version}."):
            return program
    pytest.skip(f"there is no Python {version} on this machine")


def environment_of(version: str, folder: Path) -> dict[str, str]:
    """Return variables with which a version's interpreter finds expkit, visdom and what visdom needs.

    folder: for packages. Skips the test where they cannot be had.
    """
    python = python_of(version)
    if python == sys.executable:
        return dict(os.environ)
    folder.mkdir()
    (folder / "constraints").write_text("setuptools<81\n")  # what builds visdom 0.2.4
    own = ROOT / ".uv" / "bin" / "uv"
    if uv := os.environ.get("UV") or shutil.which("uv") or (str(own) if own.is_file() else None):
        install = [uv, "pip", "install", "--python", python, "--build-constraints", str(folder / "constraints")]
    elif os.environ.get("EXPKIT_LONG") == "1":
        install = [python, "-m", "pip", "install"]
    else:
        pytest.skip("uv, which installs packages in seconds, is not installed: EXPKIT_LONG=1 installs them by pip")
    packages = ["--target", str(folder / "packages"), "visdom", "tornado<6.6", "pyyaml"]
    done = subprocess.run([*install, "-q", *packages], capture_output=True, text=True, cwd=folder)
    if done.returncode:
        pytest.skip(f"Python {version}: visdom cannot be installed: {' '.join(done.stderr.split())[-300:]}")
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(folder / "packages")])}
