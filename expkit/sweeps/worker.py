"""A job in a process of its own: apart from the terminal, with its share of the machine, and gone with its parent."""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from expkit.core.child_process import be_killed_first, die_with_parent
from expkit.core.escaping import escape_output

Train = Callable[[dict[str, Any], list[str]], object]


@dataclass(frozen=True)
class Share:
    """What a job has of the machine: CPU cores, and the one GPU it sees (as CUDA_VISIBLE_DEVICES names it)."""

    cores: int
    gpu: str | None = None


def work(train: Train, config: dict[str, Any], overrides: list[str], output: Path, share: Share, parent: int) -> None:
    """Run a job; the exit code is that of `expkit.run`."""
    _detach(parent)
    with _sink(output) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115  until the process ends
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
    escape_output()
    if share.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = share.gpu  # CUDA reads it when the job first uses it
    from expkit.devices.device import share_cores

    share_cores(share.cores)
    try:
        train(config, overrides)
    except KeyboardInterrupt:
        sys.exit(130)


def _sink(output: Path) -> BinaryIO:
    """Return the file for a job's output; on a full disk the job runs, and its output is lost."""
    try:
        return open(output, "ab", buffering=0)
    except OSError:
        return open(os.devnull, "ab", buffering=0)


def _detach(parent: int) -> None:
    """Leave the terminal's signals to the parent, which passes them on, and end when it ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    if sys.platform == "win32":
        return
    os.setpgid(0, 0)
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    die_with_parent(parent, signal.SIGTERM)
    be_killed_first(500)  # rather than the sweep
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1))
