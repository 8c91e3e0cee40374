"""How a command begins, with a line at once, and how it ends: with all that belongs to an end."""

import os
import subprocess
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest

import expkit

PROGRAM = """
import atexit, ctypes, os, sys, threading, time
from expkit.core.process import run_as_program

class Freed:
    def __del__(self):
        os.write(2, b"freed ")

kept = Freed()

def main():
{body}

if __name__ == "__main__":
    run_as_program(main)
"""


def ended(folder: Path, body: str, *python: str, **how: object) -> "subprocess.CompletedProcess[str]":
    """Run a program whose main has this body, and return how it ended."""
    script = folder / "program.py"
    script.write_text(PROGRAM.format(body="\n".join(f"    {line}" for line in body.splitlines())))
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "timeout": 60} | how
    return subprocess.run([sys.executable, "-E", *python, str(script)], **options)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("pass", 0, ""), ("sys.exit()", 0, ""), ("sys.exit(3)", 3, ""), ("sys.exit(True)", 1, ""),
        ("sys.exit('no such run')", 1, "no such run\n"), ("sys.stdout.close()", 0, ""), ("sys.stdout = None", 0, ""),
        ("sys.stdout = open('/dev/full', 'w'); print('lost')", 120, ""),
    ],
)  # fmt: skip
def test_the_exit_code_is_pythons_and_nothing_is_freed(body: str, code: int, said: str, tmp_path: Path) -> None:
    done = ended(tmp_path, body)
    assert (done.returncode, done.stderr) == (code, said)


def test_an_error_ends_as_ever(tmp_path: Path) -> None:
    done = ended(tmp_path, "raise ValueError('of a plugin')")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert done.stderr.endswith("ValueError: of a plugin\nfreed ")


def test_threads_handlers_and_output_come_to_their_end(tmp_path: Path) -> None:
    body = """
atexit.register(lambda: print("handler"))
threading.Thread(target=lambda: (time.sleep(0.3), print("thread"))).start()
threading.Thread(target=lambda: (time.sleep(60), print("daemon")), daemon=True).start()
ctypes.CDLL(None).printf(b"from C\\n")
print("x" * 300_000)
"""
    done = ended(tmp_path, body)
    assert done.returncode == 0
    assert sorted(done.stdout.split()) == sorted(["from", "C", "x" * 300_000, "thread", "handler"])
    assert done.stdout.index("thread") < done.stdout.index("handler")


def test_a_reader_that_has_read_enough_is_told_of_by_the_code(tmp_path: Path) -> None:
    body = "sys.stdin.read()\nprint('late')"
    script = ended(tmp_path, body, stdin=subprocess.DEVNULL).args[-1]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-E", script], **pipes) as process:  # type: ignore[call-overload]
        process.stdout.close()
        process.stdin.close()
        assert process.wait(60) == 141


def test_ctrl_c_while_a_thread_is_waited_for_leaves_the_handlers_their_turn(tmp_path: Path) -> None:
    body = """
atexit.register(lambda: print("handler"))
threading.Thread(target=lambda: (time.sleep(1), os.kill(os.getpid(), 2), time.sleep(60))).start()
"""
    done = ended(tmp_path, body)
    assert (done.returncode, done.stdout, done.stderr) == (130, "handler\n", "")


@pytest.mark.parametrize(
    "python", [("-m", "cProfile", "-s", "tottime"), ("-i",)], ids=["a profiler", "an interactive session"]
)
def test_what_goes_on_afterwards_is_not_cut_off(python: tuple[str, ...], tmp_path: Path) -> None:
    done = ended(tmp_path, "print('main was here')", *python, input="print('and I am after it')\n")
    assert done.returncode == 0
    assert "main was here" in done.stdout
    assert ("function calls" in done.stdout) if "cProfile" in python else ("and I am after it" in done.stdout)
    assert done.stderr.endswith("freed ")


def test_a_module_and_the_command_end_at_once_too(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    script = ended(tmp_path, "print('main')").args[-1]
    Path(script).rename(tmp_path / "package" / "program.py")
    options = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 60}
    for command in (
        ["-m", "package.program"],
        ["-c", "import sys; from expkit.cli.run import program; sys.exit(program())"],
    ):
        given = ["--help"] if command[0] == "-c" else []
        done = subprocess.run([sys.executable, *command, *given], **options)  # type: ignore[call-overload]
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout


ALONE = ["predict", "evaluate", "export", "doctor", "find_lr", "replay", "reproduce"]
WORDS = {"predict": ["RUN", "x.png"], "export": ["RUN", "--to", "onnx"], "replay": ["RUN", "logger=visdom"]}


@pytest.mark.parametrize("name", ALONE)
def test_torchrun_is_refused_where_each_rank_would_do_all_of_it(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    with pytest.raises(SystemExit, match="2"):
        import_module(f"expkit.cli.{name}").main(WORDS.get(name, ["RUN"]))
    assert "error: command line: torchrun is for python -m expkit.run alone" in capsys.readouterr().err


# A torch that prints when it is imported, and ends.
EARLY = "import os; os.write(2, b'TORCH'); os._exit(0)"
STARTING = f"expkit {expkit.__version__} is starting"
COMMANDS = {
    "run": ["epochs=1"], "predict": ["RUN", "x.png"], "evaluate": ["RUN"], "export": ["RUN", "--to", "onnx"],
    "doctor": [], "find-lr": [], "reproduce": ["RUN"], "replay": ["RUN", "logger=none"], "compare": ["RUN"],
    "folds": ["RUN"], "report": ["RUN"],
}  # fmt: skip


@pytest.fixture(scope="module")
def early(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("early")
    (folder / "torch.py").write_text(EARLY)
    (folder / "RUN").mkdir()
    (folder / "RUN/metrics.jsonl").touch()
    return folder


def seen(folder: Path, *words: str) -> str:
    """Return what a terminal was sent by a command, up to the import of torch."""
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", *words], cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(Path(expkit.__file__).parents[1])])},
    ) as process:  # fmt: skip
        os.close(theirs)
        found = b""
        with suppress(OSError):  # Linux has one where others have an end of the file
            while read := os.read(ours, 4096):
                found += read
        process.wait(60)
    os.close(ours)
    return found.decode()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_terminal_has_a_line_before_torch_is_imported(name: str, early: Path) -> None:
    shown = seen(early, "expkit", name, *COMMANDS[name])
    assert shown.startswith(STARTING)
    if not shown.endswith("TORCH"):  # it needs none for this, and has taken its line away
        assert shown[len(STARTING) :].startswith(f"\r{' ' * len(STARTING)}\r")


def test_neither_a_log_nor_a_question_has_the_line(early: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(early), str(Path(expkit.__file__).parents[1])])}
    for words, told in ((["seed=0"], "TORCH"), (["--help"], ""), (["--cfg", "job"], "")):
        command = [sys.executable, "-m", "expkit.run", *words]
        done = subprocess.run(command, cwd=early, env=environment, capture_output=True, text=True)
        assert done.stderr == told
    assert STARTING not in seen(early, "expkit.run", "--cfg", "job")
