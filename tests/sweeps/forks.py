"""Commands of expkit.run in processes of their own, forked from one that has imported torch: a second saved each time.

python tests/sweeps/forks.py     takes lines of JSON: {"arguments": [...], "folder": ..., "output": ...} answers the
                                 process's number, {"wait": NUMBER} its exit code
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Forks:
    """The asking side."""

    def __init__(self) -> None:
        self.server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])},
        )  # fmt: skip

    def start(self, folder: Path, *arguments: str) -> int:
        """Start a command in a folder; its output goes to folder/output.txt. Returns the number of its process."""
        (folder / "output.txt").write_text("")
        return int(self._ask(arguments=arguments, folder=str(folder)))

    def wait(self, process: int) -> int:
        return int(self._ask(wait=process))

    def run(self, folder: Path, *arguments: str) -> tuple[int, str]:
        """Return the exit code of a command, and what it printed."""
        code = self.wait(self.start(folder, *arguments))
        return code, (folder / "output.txt").read_text()

    def _ask(self, **question: Any) -> Any:
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(question) + "\n")
        self.server.stdin.flush()
        return json.loads(self.server.stdout.readline())

    def close(self) -> None:
        self.server.communicate(timeout=30)


@contextlib.contextmanager
def forks() -> Iterator[Forks]:
    made = Forks()
    try:
        yield made
    finally:
        made.close()


def serve() -> None:
    from expkit import assembly, run, sweeps

    assert assembly
    assert sweeps
    for line in sys.stdin:
        question = json.loads(line)
        if "wait" in question:
            _, status = os.waitpid(question["wait"], 0)
            answer = os.waitstatus_to_exitcode(status)
        elif (answer := os.fork()) == 0:
            os.setsid()  # a terminal of its own, so to speak: nobody else hears its signals
            os.chdir(question["folder"])
            output = os.open("output.txt", os.O_WRONLY | os.O_APPEND)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(output, 1)
            os.dup2(output, 2)
            sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
            code: Any = 0
            try:
                run.main(question["arguments"])
            except SystemExit as ending:
                code = ending.code
            except BaseException:
                import traceback

                traceback.print_exc()
                code = 1
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code or 0)
        print(json.dumps(answer), flush=True)


def wait_until(condition: Any, seconds: float = 60) -> None:
    """Wait until a condition holds. Raises AssertionError when it does not come to hold."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


if __name__ == "__main__":
    serve()
