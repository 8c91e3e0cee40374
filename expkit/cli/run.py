"""expkit run, python -m expkit.run: trains what a config describes, and leaves a record."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from expkit.cli.arguments import plugin_option
from expkit.cli.commands import command_parser
from expkit.core.command_parser import CommandParser
from expkit.core.errors import ConfigError
from expkit.core.process import importing, is_under_torchrun, mistakes_reported, run_as_program
from expkit.core.version import package_version


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    with mistakes_reported():
        command_flags = parser()
        own, overrides = command_flags.parse_known_args(given)
        if own.version:
            print(f"expkit {package_version()}")
            return
        if own.shell_completion is not None:
            from expkit.cli.completion import answer

            answer(own.shell_completion)
            return
        _refuse_sweep_of_ranks(overrides)
        from expkit.config.command_line import plan
        from expkit.config.plugins import load_plugins

        load_plugins(own.plugin)
        if own.names is not None:
            from expkit.config.conf_folder import conf_folder
            from expkit.config.listing import show

            show(own.names, conf_folder())
            return
        planned = plan(overrides, command_flags)
        if not planned.jobs:  # what was asked for is printed
            return
        with importing():  # torch comes with it: not for --help
            from expkit.runs.check import check_plan
            from expkit.runs.train import train

        checked, command = check_plan(planned), shlex.join(["python", "-m", "expkit.run", *given])
        if own.dry or (checked.is_sweep and not checked.for_hydra):
            _sweep(checked, own, command)
        elif checked.for_hydra:
            _by_hydra(checked, own, command)
        else:
            train(checked.jobs[0].config, checked.jobs[0].overrides, command)


def parser() -> CommandParser:
    """Return the parser of the flags that are not Hydra's."""
    made = command_parser("run", takes_overrides=True, add_help=False)
    made.add_argument("--list", nargs="*", dest="names", metavar="GROUP")
    plugin_option(made)
    made.add_argument("--shell-completion", "-sc", metavar="install=SHELL")
    for flag in ("--dry", "--new", "--frozen", "--version"):
        made.add_argument(flag, action="store_true")
    return made


def _sweep(checked: Any, own: argparse.Namespace, command: str) -> None:
    """Run the jobs of a plan side by side, or show them. checked: a Plan; own: --plugin and the flags of sweeps."""
    from expkit.sweeps import SweepFlags, run

    if code := run(checked, command, SweepFlags(own.dry, own.new, own.frozen, tuple(own.plugin))):
        sys.exit(code)


def _by_hydra(checked: Any, own: argparse.Namespace, command: str) -> None:
    """Have Hydra, or a launcher of others, start the jobs of a plan. checked: a Plan; own: --plugin."""
    from expkit.config.hydra_app import run_by_hydra
    from expkit.records.cross_validation import show_folds

    runs: list[Path] = []

    def job(config: dict[str, Any], overrides: list[str]) -> None:
        from expkit.config.plugins import load_plugins
        from expkit.runs.train import train

        load_plugins(own.plugin)  # a launcher's process does not know them
        runs.append(train(config, overrides, command))

    run_by_hydra(checked, job)
    if len(runs) > 1:
        show_folds(runs)


def _refuse_sweep_of_ranks(overrides: Sequence[str]) -> None:
    """Raise ConfigError under torchrun: each rank would run the whole sweep, and hang at its second job."""
    is_sweep = any(word in ("-m", "--multirun") or word.startswith("hydra.mode=MULTI") for word in overrides)
    if is_sweep and is_under_torchrun():
        raise ConfigError(
            "command line: torchrun does not go with -m: its ranks would each run the whole sweep; leave it out, and"
            " each job starts its own ranks: python -m expkit.run -m device=multi_gpu … (or multi_cpu)"
        )


def program() -> None:
    """Be the command `expkit`."""
    run_as_program(main)
