"""How a command ends: at once, with everything done that belongs to an end, and as ever for who looks on."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import atexit, ctypes, os, sys, threading, time
from expkit.command import run_as_program

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
        ["-c", "import sys; from expkit.run import program; sys.exit(program())"],
    ):
        given = ["--help"] if command[0] == "-c" else []
        done = subprocess.run([sys.executable, *command, *given], **options)  # type: ignore[call-overload]
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout
