"""Train what a config describes, in one process or several."""

import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from expkit.config.plugins import load_plugins
from expkit.core.errors import ConfigError
from expkit.core.process import refuse
from expkit.devices.process_group import given_ranks
from expkit.runs import build, multi_process
from expkit.runs.check import check
from expkit.runs.resume import find_origin, nothing_left
from expkit.runs.session import RunSession

Config = dict[str, Any]


def sweep_job(config: Config, overrides: list[str], plugins: Sequence[str]) -> None:
    """Run one job of a sweep, in a process of its own; its record says how to run it alone."""
    load_plugins(plugins)  # a process that is spawned, not forked, does not know them
    given = [word for file in plugins for word in ("--plugin", file)]
    train(config, overrides, shlex.join(["python", "-m", "expkit.run", *given, *overrides]))


def train(config: Config, overrides: Sequence[str], command: str, last_step: int | None = None) -> Path:
    """Assemble, train, and close the record, whatever happens; last_step: ends there. Returns the run folder."""
    began = time.perf_counter()
    try:
        checked = check(config)
        if given_ranks() or multi_process.layout_of(checked):
            return _train_with_others(checked, overrides, command, last_step)
        run = open_run(checked, overrides, command, last_step)
    except ConfigError as error:
        refuse(error)
    if isinstance(run, Path):
        print(nothing_left(run, checked))
        return run
    if code := run.train(began).code:
        sys.exit(code)
    return run.folder


def _train_with_others(config: Config, overrides: Sequence[str], command: str, last_step: int | None) -> Path:
    """Train in as many processes as the device asks for, and return the run folder."""
    ended = multi_process.train_with_others(config, overrides, command, given_ranks(), last_step)
    if ended.code:
        sys.exit(ended.code)
    return ended.folder


def open_run(config: Config, overrides: Sequence[str], command: str, last_step: int | None = None) -> RunSession | Path:
    """Build a checked config and open its run folder, or return that of a finished run. Raises ConfigError."""
    origin = find_origin(config)
    if origin.is_finished:
        assert origin.lock is not None
        assert origin.folder is not None
        origin.lock.release()
        return origin.folder
    try:
        job = build.build(config, origin)
        job.end_at(last_step)
        return RunSession(job, overrides, command)
    except BaseException:
        origin.release()
        raise
