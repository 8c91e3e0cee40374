"""TAB in a real bash, at a terminal of its own."""

import os
import pty
import re
import select
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(BASH is None, reason="bash is not installed")


class Terminal:
    """A bash that takes keys and shows what it writes."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        assert BASH
        self.process, self.file = pty.fork()
        if self.process == 0:
            os.chdir(folder)
            os.execve(BASH, ["bash", "--norc", "--noprofile", "-i"], environment)

    def keys(self, keys: str) -> None:
        os.write(self.file, keys.encode())

    def read_until(self, pattern: str, seconds: float = 120) -> str:
        """Return what has been written up to a pattern."""
        seen, end = "", time.monotonic() + seconds
        while not re.search(pattern, seen):
            assert time.monotonic() < end, f"no {pattern!r} in {seen!r}"
            if select.select([self.file], [], [], 0.1)[0]:
                seen += os.read(self.file, 4096).decode(errors="replace")
        return seen

    def complete(self, line: str) -> str:
        """Return the line as it is after TAB."""
        self.keys(f"{line}\t")
        self.read_until(re.escape(line))
        self.keys("\x01echo GOT[\x05]\r")  # to the start of the line, and to its end
        text = self.read_until(r"\nGOT\[[^\r]*\]\r")
        return text.rsplit("GOT[", 1)[1].rsplit("]", 1)[0]

    def close(self) -> None:
        self.keys("\x03\x04")
        os.close(self.file)
        os.waitpid(self.process, 0)


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    folder = tmp_path_factory.mktemp("terminal")
    (folder / "conf/model").mkdir(parents=True)
    (folder / "conf/model/zebra.yaml").write_text("name: small_cnn\nwidth: 3\n")
    (folder / "bin").mkdir()
    command = folder / "bin/expkit"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m expkit.run "$@"\n')
    command.chmod(0o755)
    (folder / "bin/python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (folder / "bin/python").chmod(0o755)
    path = f"{folder}/bin:{os.environ['PATH']}"
    bash = Terminal(folder, os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "PS1": "$ ", "TERM": "dumb",
                                          "COLUMNS": "400"})  # fmt: skip
    bash.keys('bind "set enable-bracketed-paste off"; eval "$(python -m expkit.run -sc install=bash)"; echo READY$?\r')
    bash.read_until("READY0")
    yield bash
    bash.close()


@pytest.mark.parametrize(
    ("typed", "after"),
    [
        ("expkit model=zeb", "expkit model=zebra"),
        ("python -m expkit.run model=squ", "python -m expkit.run model=squeezenet"),
        ("python -m expkit.run seed=1 optimizer.name=adama", "python -m expkit.run seed=1 optimizer.name=adamax"),
        ("expkit model.wid", "expkit model.width="),
        ("python -c 1 conf/mod", "python -c 1 conf/model/"),  # python's other uses take files, as before
    ],
)
def test_tab(terminal: Terminal, typed: str, after: str) -> None:
    assert terminal.complete(typed).rstrip() == after


def test_it_can_be_taken_away(terminal: Terminal) -> None:
    terminal.keys('eval "$(expkit -sc uninstall=bash)"; echo GONE$?; complete -p expkit\r')
    assert "no completion specification" in terminal.read_until("GONE0[^$]*specification")
