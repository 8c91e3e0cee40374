"""The table of commands: help and version answer without the slow libraries; an unknown command is a mistake."""

import json
import subprocess
import sys

import pytest

from expkit.cli.commands import COMMANDS
from expkit.cli.main import main

SLOW = ("torch", "hydra", "omegaconf", "rich", "numpy")
_PROGRAM = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps([name for name in {slow} if name in sys.modules]), file=sys.stderr))
from expkit.cli.main import program
sys.argv = ["expkit", {word!r}]
program()
"""


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_help_and_version_import_no_slow_library(word: str) -> None:
    program = _PROGRAM.format(slow=SLOW, word=word)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "expkit" in done.stdout
    assert json.loads(done.stderr.splitlines()[-1]) == []


def test_no_command_imports_torch_to_show_its_help() -> None:
    program = f"""
import sys
from contextlib import suppress
from expkit.cli.main import main
for name in {list(COMMANDS)}:
    with suppress(SystemExit):
        main([name, "--help"])
    assert "torch" not in sys.modules, name
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in COMMANDS)


def test_an_unknown_command_is_a_mistake_with_the_nearest_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["compaer"])
    assert left.value.code == 2
    sentence = capsys.readouterr().err
    assert "unknown command 'compaer'" in sentence
    assert "compare" in sentence.split("'compaer'")[1]
