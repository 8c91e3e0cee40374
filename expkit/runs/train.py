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
    """Run one job of a sweep in its own process; its record holds the command that runs it alone."""
    load_plugins(plugins)  # for a spawned process
    given = [word for file in plugins for word in ("--plugin", file)]
    train(config, overrides, shlex.join(["python", "-m", "expkit.run", *given, *overrides]))


def train(config: Config, overrides: Sequence[str], command: str, last_step: int | None = None) -> Path:
    """Train a config, in one or several processes, and return the run folder; exit if it fails or is interrupted."""
    began = time.perf_counter()
    try:
        checked = check(config)
        if ranks := given_ranks():
            outcome, folder = multi_process.train_as_rank(checked, overrides, command, ranks, last_step=last_step)
            code = outcome.code
        elif layout := multi_process.layout_of(checked):
            code, _, folder = multi_process.launch_ranks(checked, overrides, command, layout, last_step)
        else:
            run = open_run(checked, overrides, command, last_step)
            if isinstance(run, Path):
                print(nothing_left(run, checked))
                return run
            code, folder = run.train(began).code, run.folder
    except ConfigError as error:
        refuse(error)
    if code:
        sys.exit(code)
    return folder


def open_run(config: Config, overrides: Sequence[str], command: str, last_step: int | None = None) -> RunSession | Path:
    """Build a checked config and open its run folder, or return the folder of a finished run. Raises ConfigError."""
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
