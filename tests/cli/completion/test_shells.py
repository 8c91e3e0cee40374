"""TAB in real shells: bash and zsh at terminals of their own, fish by its own question."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from expkit.cli.completion import answer

ROOT = Path(__file__).parents[3]


class Terminal:
    """A shell that takes keys and shows what it writes."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.process, self.file = pty.fork()
        if self.process == 0:
            os.chdir(folder)
            os.execve(command[0], command, environment)

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
        self.keys("\x01echo 'GOT[\x05]'\r")  # to the start of the line, and to its end
        text = self.read_until(r"\nGOT\[[^\r]*\]\s*\r")
        return text.rsplit("GOT[", 1)[1].rsplit("]", 1)[0]

    def close(self) -> None:
        self.keys("\x03\x04")
        os.close(self.file)
        os.waitpid(self.process, 0)


# How each is started, and what it is typed before its script.
TERMINALS = {
    "bash": (["--norc", "--noprofile", "-i"], 'bind "set enable-bracketed-paste off"'),
    "zsh": (["-f", "-i"], "PS1='$ '; unset zle_bracketed_paste; bindkey -e; autoload -Uz compinit; compinit -u -D"),
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment with `expkit` and `python`, and a folder with a choice of its own."""
    folder = tmp_path_factory.mktemp("terminal")
    (folder / "conf/model").mkdir(parents=True)
    (folder / "conf/model/zebra.yaml").write_text("name: small_cnn\nwidth: 3\n")
    (folder / "bin").mkdir()
    for name, arguments in (("expkit", "-m expkit "), ("python", "")):
        (folder / "bin" / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments}"$@"\n')
        (folder / "bin" / name).chmod(0o755)
    return os.environ | {"PATH": f"{folder}/bin:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "PS1": "$ ",
                         "TERM": "dumb", "COLUMNS": "400", "PWD": str(folder)}  # fmt: skip


def found(shell: str) -> str:
    """Return the path of a shell; skips the test where it is not installed."""
    if (path := shutil.which(shell)) is None:
        pytest.skip(f"{shell} is not installed")
    return path


@pytest.fixture(scope="module", params=TERMINALS)
def terminal(request: pytest.FixtureRequest, environment: dict[str, str]) -> Iterator[Terminal]:
    arguments, first = TERMINALS[request.param]
    shell = Terminal([found(request.param), *arguments], Path(environment["PWD"]), environment)
    shell.keys(f'{first}; eval "$(python -m expkit.run -sc install={request.param})"; echo READY$?\r')
    shell.read_until("READY0")
    yield shell
    shell.close()


LINES = [
    ("expkit model=zeb", "expkit model=zebra"),
    ("python -m expkit.run model=squ", "python -m expkit.run model=squeezenet"),
    ("python -m expkit.run seed=1 optimizer.name=adama", "python -m expkit.run seed=1 optimizer.name=adamax"),
    ("python -m expkit find-lr model=zeb", "python -m expkit find-lr model=zebra"),
    ("expkit pred", "expkit predict"),
    ("expkit run model.wid", "expkit run model.width="),
    ("expkit export --to=on", "expkit export --to=onnx"),
]


@pytest.mark.parametrize(
    ("typed", "after"),
    [*LINES, ("python -c 1 conf/mod", "python -c 1 conf/model")],  # python's other uses take files, as before
)
def test_tab(terminal: Terminal, typed: str, after: str) -> None:
    assert terminal.complete(typed).rstrip(" /") == after


def test_it_can_be_taken_away_from_bash(environment: dict[str, str]) -> None:
    line = 'eval "$(expkit -sc install=bash)"; eval "$(expkit -sc uninstall=bash)"; complete -p expkit; echo $?'
    done = subprocess.run([found("bash"), "-c", line], env=environment, capture_output=True, text=True)
    assert "no completion specification" in done.stderr
    assert done.stdout == "1\n"


def test_tab_in_fish(environment: dict[str, str]) -> None:
    asked = "; echo ---; ".join(f"complete -C'{typed}'" for typed, _ in LINES)
    command = [found("fish"), "--no-config", "-c", f"expkit -sc install=fish | source; {asked}"]
    options = {"cwd": environment["PWD"], "env": environment, "capture_output": True, "text": True, "check": True}
    done = subprocess.run(command, **options)  # type: ignore[call-overload]
    offered = [words.split() for words in done.stdout.split("---\n")]
    assert [after.split()[-1] in words for (_, after), words in zip(LINES, offered, strict=True)] == [True] * len(LINES)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_knows_each_way_to_call_it(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where the shell itself is not installed."""
    answer(f"install={shell}")
    script = capsys.readouterr().out
    assert f"expkit -sc install={shell}" in script
    assert f"-sc query={shell}" in script
    assert all(
        name in script for name in ("COMP_LINE", "COMP_POINT", "expkit", "python", "python3", "_expkit_complete")
    )
    answer(f"uninstall={shell}")
    assert "_expkit_complete" in capsys.readouterr().out
