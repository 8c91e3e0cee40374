"""Commands in processes of their own, forked from one that has imported torch: seconds are saved each time.

python tests/forks.py     takes lines of JSON: {"start": {...}} answers the number of a new process, {"poll": NUMBER}
                          its exit code, or null while it runs
"""

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any


class Process:
    """One command: what is used of subprocess.Popen."""

    def __init__(self, forks: "Forks", pid: int, output: Path) -> None:
        self._forks, self.pid, self._output = forks, pid, output
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._forks.ask("poll", self.pid)
        return self.returncode

    def wait(self, timeout: float = 240) -> int:
        """Return the exit code, or minus the signal that ended it. Raises TimeoutExpired."""
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout, self.printed())
            time.sleep(0.01)
        return code

    def communicate(self, timeout: float = 240) -> tuple[str, str]:
        """Return (stdout, stderr) when the process has ended. Raises TimeoutExpired."""
        self.wait(timeout)
        return self._read(".out"), self._read(".err")

    def printed(self) -> str:
        """Return all that it has printed so far, errors last."""
        return self._read(".out") + self._read(".err")

    def _read(self, suffix: str) -> str:
        return self._output.with_suffix(suffix).read_text(errors="surrogateescape")

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


class Forks:
    """The asking side. through: a command that starts the other side, e.g. as another user."""

    def __init__(self, environment: Mapping[str, str] | None = None, through: Sequence[str] = ()) -> None:
        self._outputs = tempfile.TemporaryDirectory()
        self._started = 0
        self._environment = {**(os.environ if environment is None else environment)}
        path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
        self._server = subprocess.Popen(
            [*through, sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=self._environment | {"PYTHONPATH": path},
        )  # fmt: skip

    def start(
        self, folder: Path, *arguments: str, module: str = "expkit.cli.run",
        environment: Mapping[str, str] | None = None,
    ) -> Process:  # fmt: skip
        """Start the main of a module in a folder, in a session of its own."""
        self._started += 1
        output = Path(self._outputs.name, str(self._started))
        given = {"module": module, "arguments": arguments, "folder": str(folder), "output": str(output)}
        given["environment"] = {**self._environment, **(environment or {})}
        return Process(self, self.ask("start", given), output)

    def run(
        self, folder: Path, *arguments: str, module: str = "expkit.cli.run",
        environment: Mapping[str, str] | None = None, timeout: float = 240,
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Run a command to its end. Raises TimeoutExpired; the process is killed then."""
        process = self.start(folder, *arguments, module=module, environment=environment)
        try:
            printed, errors = process.communicate(timeout)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            raise
        return subprocess.CompletedProcess(arguments, process.wait(), printed, errors)

    def told(self, folder: Path, *arguments: str) -> tuple[int, str]:
        """Return the exit code of a command, and all that it printed, errors last."""
        process = self.start(folder, *arguments)
        return process.wait(), process.printed()

    def ask(self, what: str, given: Any) -> Any:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps({what: given}) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())

    def close(self) -> None:
        self._server.communicate(timeout=30)
        self._outputs.cleanup()


@contextlib.contextmanager
def forks(environment: Mapping[str, str] | None = None, through: Sequence[str] = ()) -> Iterator[Forks]:
    made = Forks(environment, through)
    try:
        yield made
    finally:
        made.close()


def serve() -> None:
    for module in ("runs.build", "cli.run", "sweeps"):
        importlib.import_module(f"expkit.{module}")
    for line in sys.stdin:
        ((what, given),) = json.loads(line).items()
        answer: int | None
        if what == "poll":
            pid, status = os.waitpid(given, os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        elif (answer := os.fork()) == 0:
            run(**given)
        print(json.dumps(answer), flush=True)


def run(module: str, arguments: list[str], folder: str, output: str, environment: dict[str, str]) -> None:
    """Be a process that runs the main of a module; does not return."""
    os.setsid()  # a terminal of its own, so to speak: nobody else hears its signals
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, name in ((0, os.devnull), (1, f"{output}.out"), (2, f"{output}.err")):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND), descriptor)
    encoding = environment.get("PYTHONIOENCODING")  # read by Python as it starts, which it does not do here
    sys.stdout, sys.stderr = (open(number, "w", closefd=False, encoding=encoding) for number in (1, 2))  # noqa: SIM115
    sys.argv = [module, *arguments]
    code: Any = 0
    try:
        importlib.import_module(module).main(arguments)
    except SystemExit as ending:
        code = ending.code
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


def wait_until(condition: Any, seconds: float = 60) -> None:
    """Wait until a condition holds. Raises AssertionError when it does not come to hold."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


if __name__ == "__main__":
    serve()
