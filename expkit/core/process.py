"""How a command begins and ends: its first sign of life, its mistakes, its exit code."""

import atexit
import ctypes
import gc
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from expkit.core.errors import ConfigError
from expkit.core.escaping import clear_status, escape_output, escaped_output, one_line, show_status
from expkit.core.files import disk_fault
from expkit.core.version import package_version

_MOST_FAULTS = 50  # that are printed


@contextmanager
def importing() -> Iterator[None]:
    """Import torch and what needs it, a fifth faster.

    Importing creates hundreds of thousands of objects that stay: collecting garbage among them is wasted time, now and
    later in the run.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()
        atexit.register(gc.unfreeze)  # else nanobind, which some libraries use, reports leaks at exit


@contextmanager
def mistakes_reported() -> Iterator[None]:
    """Exit with a message: code 2 for a user's mistake, 1 for a disk that is full or fails, 130 for Ctrl+C, 141 for a
    closed pipe."""
    with escaped_output():
        try:
            yield
        except ConfigError as error:
            refuse(error)
        except KeyboardInterrupt:
            sys.exit(130)
        except BrokenPipeError:  # `| head` has read enough
            sys.stderr.close()
            sys.exit(141)
        except OSError as error:
            if not (sentence := disk_fault(error)):
                raise
            print(f"error: {one_line(sentence)}", file=sys.stderr)
            sys.exit(1)


def is_under_torchrun() -> bool:
    """Return True if torchrun has started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "TORCHELASTIC_RUN_ID" in os.environ


def refuse_torchrun() -> None:
    """Raise ConfigError where each of several processes would repeat all of a command's work."""
    if is_under_torchrun():
        raise ConfigError("command line: torchrun is for python -m expkit.run alone; type this command without it")


def refuse(error: ConfigError) -> NoReturn:
    """Exit with a user's mistake, a line for each fault."""
    for fault in error.faults[:_MOST_FAULTS]:
        print(f"error: {one_line(fault)}", file=sys.stderr)
    if (more := len(error.faults) - _MOST_FAULTS) > 0:
        print(f"error: and {more:,} more of them", file=sys.stderr)
    sys.exit(2)


def run_as_program(main: Callable[[], object]) -> None:
    """Call main, and exit at once: freeing what the import of torch has created takes Python more than a second.

    Everything else of an exit is done: threads are joined, exit handlers called, output is flushed, and the exit code
    is that of sys.exit. mypy exits like this too. An exception ends the process as usual, and so does everything under
    a debugger, a profiler or python -i, since they continue afterwards.

    On a terminal a line shows at once that the command is starting: importing torch takes seconds.
    """
    if "--version" in sys.argv[1:]:
        print(f"expkit {package_version()}")
        return
    if _is_called_by_others():
        with escaped_output():
            main()
        return
    _show_start()
    escape_output()  # to the end: a traceback names files and classes too
    try:
        main()
        code: object = 0
    except SystemExit as end:
        code = end.code
    _end(code)


# Flags that only print something to the standard output.
_QUESTIONS = re.compile(r"-h|--help|--hydra-help|--list|--info|-i|--cfg|-c|--shell-completion|-sc")


def _show_start() -> None:
    is_question = any(_QUESTIONS.fullmatch(word.partition("=")[0]) for word in sys.argv[1:])
    if is_question or int(os.environ.get("LOCAL_RANK", "0")) or sys.stderr is None:
        return
    show_status(f"expkit {package_version()} is starting")


def _is_called_by_others() -> bool:
    """Return True if anything but the start of a program is below in the stack."""
    frame: FrameType | None = sys._getframe()
    while frame and re.match(r"__main__$|runpy$|expkit\.", str(frame.f_globals.get("__name__"))):
        frame = frame.f_back
    return frame is not None or bool(sys.flags.inspect)


def _end(code: object) -> NoReturn:
    """Do what Python does at the exit of a program, without freeing anything."""
    if not isinstance(code, int | None):
        print(code, file=sys.stderr)
    clear_status()
    number = code if isinstance(code, int) else int(code is not None)
    for last in (threading._shutdown, atexit._run_exitfuncs):  # type: ignore[attr-defined]
        try:
            last()
        except KeyboardInterrupt:  # the user does not wait for threads; the handlers still run
            number = 130
    failed = flush()
    os._exit(number or failed)


def flush() -> int:
    """Flush all output, that of C code too, and return 0 or the exit code of what cannot be written."""
    failed = 0
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None where a shell has closed it: >&-
        try:
            stream.flush()
        except ValueError:  # closed
            pass
        except OSError as error:
            failed = failed or (141 if isinstance(error, BrokenPipeError) else 120)
    if os.name == "posix":
        ctypes.CDLL(None).fflush(None)
    return failed
