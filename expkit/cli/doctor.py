"""python -m expkit doctor: examines a data set and this machine before training, and says what fixes what is wrong."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from expkit.core.errors import ConfigError
from expkit.core.process import importing, mistakes_told, refuse_torchrun

USAGE = """\
python -m expkit doctor [--plugin FILE.py] [GROUP=CHOICE ...] [KEY=VALUE ...]

Takes the overrides of python -m expkit.run, reads every image once, and looks at the machine. Reports unreadable and
equal images, leaks between train and val, the classes, sizes, mean and std, and draws samples and transforms.
Exit code: 0 all well, 1 something should be fixed, 2 a mistake in the command.

  python -m expkit doctor dataset=dogcat dataset.root=FOLDER
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Exit codes: 0 all well, 1 something should be fixed, 2 a user's mistake, 130 Ctrl+C."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE")
    own, overrides = parser.parse_known_args(arguments)
    if own.help:
        print(USAGE, end="")
        return
    with mistakes_told():
        refuse_torchrun()
        from expkit.config.launch import flags_of_place, plan
        from expkit.config.plugins import load_plugins

        load_plugins(own.plugin)
        flags = [word for file in own.plugin for word in ("--plugin", file)] + flags_of_place(overrides)
        planned = plan(overrides)
        healthy = _examine(planned, ["python", "-m", "expkit.run", *flags]) if planned.jobs else True
    sys.exit(0 if healthy else 1)


def _examine(plan: Any, run_command: list[str]) -> bool:
    """Check the jobs of a Plan and examine each; returns whether all are well. Raises ConfigError."""
    with importing():
        from expkit.runs.check import check_plan
    try:
        import imagehash  # noqa: F401
    except ImportError as error:
        raise ConfigError("doctor: needs the package imagehash; install expkit[doctor]") from error
    from expkit.core.terminal import Console
    from expkit.doctor.examine import examine

    console = Console(highlight=False)
    jobs = check_plan(plan).jobs
    healthy = [examine(job.config, console, shlex.join([*run_command, *job.overrides])) for job in jobs]
    return all(healthy)
