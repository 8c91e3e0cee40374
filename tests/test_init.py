"""What importing the package does before anything imports torch."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import expkit
from expkit.cli.run import main

PLUGIN = "import torch\n"  # before any command does


@pytest.mark.skipif(sys.platform != "linux", reason="libgomp is what torch uses on Linux")
@pytest.mark.parametrize(
    ("asked", "spins"), [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "passive"}, "0")], ids=str
)
def test_threads_that_wait_for_each_other_sleep_soon(asked: dict[str, str], spins: str, tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text(PLUGIN)
    kept = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    command = [sys.executable, "-m", "expkit.run", "--plugin", "plugin.py", "--list"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=True,
        env=kept | {"OMP_DISPLAY_ENV": "verbose"} | asked,
    )  # fmt: skip
    assert f"GOMP_SPINCOUNT = '{spins}'" in done.stderr


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--version"])
    assert capsys.readouterr().out == f"expkit {version('expkit')}\n"
    assert expkit.__version__ == version("expkit")


def test_asking_for_the_version_imports_little() -> None:
    program = (
        "import sys, expkit; print(expkit.__version__, sorted({'torch', 'hydra', 'rich', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == f"{version('expkit')} []\n"


@pytest.mark.parametrize(
    "command",
    [["expkit"], ["expkit.run"], ["expkit", "doctor"], ["expkit", "visdom"], ["expkit", "predict"]],
    ids=" ".join,
)
def test_every_command_knows_its_version(command: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"expkit {version('expkit')}\n"
