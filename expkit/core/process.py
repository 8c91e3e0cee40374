"""What the commands share: how they begin and end, and the options of those that use a trained model."""

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
from expkit.core.escaping import escape_output, escaped_output, hide_sign, one_line, show_sign
from expkit.core.files import disk_fault
from expkit.core.version import package_version

_MOST_FAULTS = 50  # that are printed


@contextmanager
def importing() -> Iterator[None]:
    """Import torch and what needs it, a fifth faster.

    Importing makes hundreds of thousands of objects that stay: looking for garbage among them is in vain, now and
    whenever the run does it later.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()
        atexit.register(gc.unfreeze)  # or nanobind, which some libraries are made with, tells of leaks at the end


@contextmanager
def mistakes_told() -> Iterator[None]:
    """End the process in a sentence: exit code 2 for a user's mistake, 1 for a disk that is full or fails, 130 for
    Ctrl+C, 141 for a closed pipe."""
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
    """Say whether torchrun has started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "TORCHELASTIC_RUN_ID" in os.environ


def refuse_torchrun() -> None:
    """Raise ConfigError where each of several processes would do all of a command's work again."""
    if is_under_torchrun():
        raise ConfigError("command line: torchrun is for python -m expkit.run alone; type this command without it")


def refuse(error: ConfigError) -> NoReturn:
    """End the process with a user's mistake, a line for each fault."""
    for fault in error.faults[:_MOST_FAULTS]:
        print(f"error: {one_line(fault)}", file=sys.stderr)
    if (more := len(error.faults) - _MOST_FAULTS) > 0:
        print(f"error: and {more:,} more of them", file=sys.stderr)
    sys.exit(2)


def run_as_program(main: Callable[[], object]) -> None:
    """Call main, and end the process at once: to free what torch's import has made takes Python more than a second.

    What else belongs to an end is done: threads are waited for, exit handlers called, output is flushed, and the exit
    code is that of sys.exit. mypy ends like this too. An exception ends as ever, and so does everything where a
    debugger or a profiler has called this, or python -i, for they go on afterwards.

    On a terminal a line shows at once that it starts, which importing torch takes seconds for.
    """
    if "--version" in sys.argv[1:]:
        print(f"expkit {package_version()}")
        return
    if _is_called_by_others():
        with escaped_output():
            main()
        return
    _say_that_it_starts()
    escape_output()  # to the end: a traceback names files and classes too
    try:
        main()
        code: object = 0
    except SystemExit as end:
        code = end.code
    _end(code)


# What only asks for something that is written to the standard output.
_QUESTIONS = re.compile(r"-h|--help|--hydra-help|--list|--info|-i|--cfg|-c|--shell-completion|-sc")


def _say_that_it_starts() -> None:
    is_question = any(_QUESTIONS.fullmatch(word.partition("=")[0]) for word in sys.argv[1:])
    if is_question or int(os.environ.get("LOCAL_RANK", "0")) or sys.stderr is None:
        return
    show_sign(f"expkit {package_version()} is starting")


def _is_called_by_others() -> bool:
    """Return True if anything but a program's start lies below in the stack."""
    frame: FrameType | None = sys._getframe()
    while frame and re.match(r"__main__$|runpy$|expkit\.", str(frame.f_globals.get("__name__"))):
        frame = frame.f_back
    return frame is not None or bool(sys.flags.inspect)


def _end(code: object) -> NoReturn:
    """Do what Python does at the end of a program, without freeing anything."""
    if not isinstance(code, int | None):
        print(code, file=sys.stderr)
    hide_sign()
    number = code if isinstance(code, int) else int(code is not None)
    for last in (threading._shutdown, atexit._run_exitfuncs):  # type: ignore[attr-defined]
        try:
            last()
        except KeyboardInterrupt:  # who does not want to wait for threads needs the handlers all the more
            number = 130
    failed = flush()
    os._exit(number or failed)


def flush() -> int:
    """Have all output written, that of C code too; returns 0, or the exit code that says what could not be."""
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
