"""python -m expkit.run: trains what a config describes, and leaves a record."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import expkit
from expkit.command import importing, is_under_torchrun, mistakes_told, refuse, run_as_program
from expkit.registry import ConfigError

if TYPE_CHECKING:
    from expkit.opened import Opened

Config = dict[str, Any]


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
        print(f"expkit {expkit.__version__}")
        return
    with mistakes_told():
        _refuse_sweep_of_ranks(overrides)
        from expkit.plugins import load_plugins

        load_plugins(own.plugin)
        if own.words is not None:
            from expkit.composing import conf_folder
            from expkit.listing import show

            show(own.words, conf_folder())
        else:
            _run(own, overrides, shlex.join(["python", "-m", "expkit.run", *given]))


def _run(own: argparse.Namespace, overrides: list[str], command: str) -> None:
    """Train what the overrides describe, once or as a sweep. own: --plugin and the flags of sweeps."""
    from expkit.config import launch

    flags = {flag: getattr(own, flag) for flag in ("dry", "new", "frozen")} | {"plugins": tuple(own.plugin)}
    sweep = _Sweep(command, flags, partial(sweep_job, plugins=own.plugin))
    runs: list[Path] = []
    job = partial(_train_one, command=command, plugins=own.plugin, runs=runs)
    launch(overrides, _check, job, sweep, own.dry)
    if len(runs) > 1:
        from expkit.folds import show_folds

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
        from expkit.assembly import check  # torch comes with it: not for --help

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


def sweep_job(config: Config, overrides: list[str], plugins: Sequence[str]) -> None:
    """Run one job of a sweep, in a process of its own; its record says how to run it alone."""
    from expkit.plugins import load_plugins

    load_plugins(plugins)  # a process that is spawned, not forked, does not know them
    given = [word for file in plugins for word in ("--plugin", file)]
    train(config, overrides, shlex.join(["python", "-m", "expkit.run", *given, *overrides]))


def _train_one(
    config: Config, overrides: Sequence[str], command: str, plugins: Sequence[str], runs: list[Path]
) -> None:
    """Train, and add the run's folder to runs. plugins: files of --plugin, which a launcher's process does not know."""
    from expkit.plugins import load_plugins

    load_plugins(plugins)
    runs.append(train(config, overrides, command))


def train(config: Config, overrides: Sequence[str], command: str, last_step: int | None = None) -> Path:
    """Assemble, train, and close the record, whatever happens; last_step: ends there. Returns the run folder."""
    began = time.perf_counter()
    try:
        if several := _train_with_others(config, overrides, command, last_step):
            return several
        run = open_run(config, overrides, command, last_step)
    except ConfigError as error:
        refuse(error)
    if isinstance(run, Path):
        print(f"{run}: this run is finished; nothing is left to do")
        return run
    if code := run.train(began).code:
        sys.exit(code)
    return run.folder


def _train_with_others(config: Config, overrides: Sequence[str], command: str, last_step: int | None) -> Path | None:
    """Train in as many processes as the device asks for, and return the run folder; None where it is this one alone."""
    from expkit import assembly, ranking
    from expkit.devices.ranks import given_ranks
    from expkit.opened import Opened

    assembly.check(config)
    ranks = given_ranks()
    if not ranks and not ranking.layout_of(config):
        return None
    ended = ranking.train_with_others(config, overrides, command, ranks, Opened, last_step)
    if ended.code:
        sys.exit(ended.code)
    return ended.folder


def open_run(config: Config, overrides: Sequence[str], command: str, last_step: int | None = None) -> Opened | Path:
    """Check and assemble a config and open its run folder, or return that of a finished run. Raises ConfigError."""
    from expkit import assembly
    from expkit.opened import Opened
    from expkit.resuming import find_origin

    assembly.check(config)
    origin = find_origin(config)
    if origin.is_finished:
        assert origin.lock is not None
        assert origin.folder is not None
        origin.lock.release()
        return origin.folder
    try:
        job = assembly.assemble(config, origin)
        job.end_at(last_step)
        return Opened(job, overrides, command)
    except BaseException:
        origin.release()
        raise


def program() -> None:
    """Be the command `expkit`."""
    run_as_program(main, in_logs=True)


if __name__ == "__main__":
    program()
