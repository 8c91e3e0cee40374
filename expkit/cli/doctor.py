"""expkit doctor: checks a data set and this machine before training, and says what fixes the faults."""

import shlex
import sys
from collections.abc import Sequence
from typing import Any

from expkit.cli.arguments import plugin_option
from expkit.cli.commands import command_parser
from expkit.core.command_parser import CommandParser
from expkit.core.errors import ConfigError
from expkit.core.process import importing, mistakes_reported, refuse_torchrun

_ABOUT = """Reads every image once and reports unreadable and equal images, leaks between train and val, classes, sizes,
mean and std; draws samples and transforms. Example: expkit doctor dataset=dogcat dataset.root=FOLDER."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    with mistakes_reported():
        command = parser()
        own, overrides = command.parse_known_args(arguments)
        refuse_torchrun()
        from expkit.config.command_line import plan
        from expkit.config.hydra_flags import flags_of_place
        from expkit.config.plugins import load_plugins

        load_plugins(own.plugin)
        flags = [word for file in own.plugin for word in ("--plugin", file)] + flags_of_place(overrides)
        planned = plan(overrides, command)
        healthy = _examine(planned, ["python", "-m", "expkit.run", *flags]) if planned.jobs else True
    sys.exit(0 if healthy else 1)


def parser() -> CommandParser:
    """Return the parser of the command's own flags."""
    made = command_parser("doctor", _ABOUT, takes_overrides=True)
    plugin_option(made)
    return made


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
