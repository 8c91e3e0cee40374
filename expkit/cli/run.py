"""python -m expkit.run: trains what a config describes, and leaves a record."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expkit.core.errors import ConfigError
from expkit.core.process import importing, is_under_torchrun, mistakes_told, run_as_program
from expkit.core.version import package_version
from expkit.runs.train import Config, _train_one, sweep_job

if TYPE_CHECKING:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Exit codes: 0 done, 1 the run failed, 2 a user's mistake, 130 Ctrl+C."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--list", nargs="*", dest="words", metavar="GROUP")
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE")
    for flag in ("--dry", "--new", "--frozen", "--version"):
        parser.add_argument(flag, action="store_true")
    own, overrides = parser.parse_known_args(given)
    if own.version:
        print(f"expkit {package_version()}")
        return
    with mistakes_told():
        _refuse_sweep_of_ranks(overrides)
        from expkit.config.plugins import load_plugins

        load_plugins(own.plugin)
        if own.words is not None:
            from expkit.config.hydra_loader import conf_folder
            from expkit.config.listing import show

            show(own.words, conf_folder())
        else:
            _run(own, overrides, shlex.join(["python", "-m", "expkit.run", *given]))


def _run(own: argparse.Namespace, overrides: list[str], command: str) -> None:
    """Train what the overrides describe, once or as a sweep. own: --plugin and the flags of sweeps."""
    from expkit.config.launch import launch

    flags = {flag: getattr(own, flag) for flag in ("dry", "new", "frozen")} | {"plugins": tuple(own.plugin)}
    sweep = _Sweep(command, flags, partial(sweep_job, plugins=own.plugin))
    runs: list[Path] = []
    job = partial(_train_one, command=command, plugins=own.plugin, runs=runs)
    launch(overrides, _check, job, sweep, own.dry)
    if len(runs) > 1:
        from expkit.records.cross_validation import show_folds

        show_folds(runs)
    if sweep.code:
        sys.exit(sweep.code)


def _refuse_sweep_of_ranks(overrides: Sequence[str]) -> None:
    """Each rank of torchrun would run the whole sweep, and hang at its second job. Raises ConfigError."""
    is_sweep = any(word in ("-m", "--multirun") or word.startswith("hydra.mode=MULTI") for word in overrides)
    if is_sweep and is_under_torchrun():
        raise ConfigError(
            "command line: torchrun does not go with -m: its ranks would each run the whole sweep; leave it out, and"
            " each job starts its own ranks: python -m expkit.run -m device=multi_gpu … (or multi_cpu)"
        )


def _check(config: Config) -> None:
    with importing():
        from expkit.runs.build import check  # torch comes with it: not for --help

    check(config)


class _Sweep:
    """The jobs of a sweep, run side by side; what it needs is imported when there are some."""

    def __init__(self, command: str, flags: dict[str, Any], train: Callable[[Config, list[str]], object]) -> None:
        self.command, self.flags, self.train = command, flags, train
        self._run: Any = None

    def __call__(self, plan: Any) -> None:
        from expkit.sweeps import SweepFlags, SweepRun

        self._run = self._run or SweepRun(self.train, self.command, SweepFlags(**self.flags))
        self._run(plan)

    @property
    def code(self) -> int:
        return self._run.code if self._run else 0


def program() -> None:
    """Be the command `expkit`."""
    run_as_program(main, in_logs=True)
