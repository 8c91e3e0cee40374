"""A run of several processes: the launcher, and the part of each rank."""

import copy
import json
import shutil
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from expkit.checkpoints.writer import CheckpointNotWritten
from expkit.config.plugins import loaded_files
from expkit.config.registry import devices
from expkit.core.errors import ConfigError
from expkit.core.run_folder import make_run_folder
from expkit.core.user_folders import expanded
from expkit.devices import Layout, Ranks, Split
from expkit.devices.device import available_cores
from expkit.devices.rank_launcher import launch
from expkit.runs import build
from expkit.runs.check import check
from expkit.runs.job import Job
from expkit.runs.outcome import RunOutcome, outcome_of
from expkit.runs.resume import folder_to_resume, nothing_left, run_name, shared_origin
from expkit.runs.session import RunSession

Config = dict[str, Any]


def layout_of(config: Mapping[str, Any]) -> Layout | None:
    """Return the layout if the config's device needs several processes, else None. Raises ConfigError."""
    found = devices.build(config["device"])
    return found if isinstance(found, Layout) and found.starts_ranks else None


def launch_ranks(
    config: Config, overrides: Sequence[str], command: str, layout: Layout, last_step: int | None = None
) -> tuple[int, str, Path]:
    """Start this machine's ranks; return (exit code, reason if it is not 0, the run folder).

    For one of several machines the folder is that of its ranks' logs: only the machine of rank 0 has the run folder.
    """
    folder, is_new = folder_to_resume(config), False
    if folder:
        config = config | {"checkpoint": config["checkpoint"] | {"resume": str(folder)}}
    elif layout.nodes == 1:
        folder, is_new = make_run_folder(config["output_dir"], run_name(config)), True
    here = f"{socket.gethostname()}_{time.strftime('%Y-%m-%d_%H-%M-%S')}_{time.monotonic_ns() % 10**6}"
    place = folder / "ranks" if folder else expanded(config["output_dir"]) / "nodes" / here
    job: Config = {"config": config, "overrides": list(overrides), "command": command, "plugins": loaded_files()}
    job |= {"folder": str(folder.absolute()) if folder else None, "cores": available_cores(), "last_step": last_step}
    code, reason = launch(layout, job, place.absolute(), [sys.executable, "-m", "expkit.runs.rank_worker"])
    if is_new and folder and not (folder / "record.json").exists():
        shutil.rmtree(folder)  # the ranks refused the config: nothing was trained
    return code, reason, folder or place


def train_as_rank(
    config: Config, overrides: Sequence[str], command: str, ranks: Ranks, folder: Path | None = None,
    ready: Callable[[], object] = lambda: None, last_step: int | None = None,
) -> tuple[RunOutcome, Path]:  # fmt: skip
    """Do this rank's part of a run; return (its outcome, the run folder). Raises ConfigError, and unexpected errors.

    ready: called once signals are handled. last_step: where to end, None for the config's.
    """
    began, config = time.perf_counter(), check(config)
    layout = layout_of(config)
    ranks.timeout = layout.timeout if layout else ranks.timeout
    device = devices.build(config["device"])
    if isinstance(device, Split):
        raise ConfigError("device.name: split is for one process; start the run without torchrun")
    kind = device.devices[0].type if isinstance(device, Layout) else device.type
    ranks.join("nccl" if kind == "cuda" else "gloo")
    place = str(folder) if folder else None
    own = (copy.deepcopy(config), list(overrides), command, place)
    config, overrides, command, place = ranks.from_first(own)
    folder = Path(place) if place else None
    config = check(_after_restart(config, folder))
    origin = shared_origin(config, ranks)
    if origin.is_finished:
        if ranks.is_first:
            print(nothing_left(origin.folder, config))
        return RunOutcome("finished", 0), origin.folder or Path()
    job = build.build(config, origin, ranks)
    job.end_at(last_step)
    with job.trainer.observers.interruption.heard():
        run = RunSession(job, overrides, command, folder) if ranks.is_first else Follower(job)
        run.folder = Path(ranks.from_first(str(run.folder)))
        if isinstance(run, Follower):
            run.follow()
        ready()
        outcome = run.train(began)
        if outcome.status != "failed":
            ranks.wait()  # until rank 0 has written everything: the launcher ends all ranks once one has ended
    return outcome, run.folder


def _after_restart(config: Config, folder: Path | None) -> Config:
    """Return the config with which restarted ranks resume from the last checkpoint."""
    if folder and "resume" in config["checkpoint"] and any((folder / "checkpoints").glob("*.json")):
        return config | {"checkpoint": config["checkpoint"] | {"resume": str(folder), "init_from": None}}
    return config


class Follower:
    """The job of a rank other than 0: it computes, writes nothing, and logs what it cannot read."""

    def __init__(self, job: Job) -> None:
        self.job, self.folder = job, Path()

    def follow(self) -> None:
        """Open the checkpoints of the folder that rank 0 has named."""
        self.job.trainer.observers.open([], build.follow_checkpoints(self.job, self.folder))
        for loader in self.job.loaders.values():
            loader.report = lambda bad: print(json.dumps({"cannot be read": bad.location, "reason": bad.reason}))

    def train(self, began: float) -> RunOutcome:
        """Run the job and return its outcome. Raises unexpected errors."""
        with self.job.trainer.observers.interruption.heard():
            try:
                self.job.trainer.run()
                self.job.close()
                self.job.bad_of_other_ranks()
                self.job.trainer.state.gather_weights()
            except BaseException as error:
                outcome = outcome_of(error, self.job)
                if not outcome.is_explained:
                    raise
                return outcome
            finally:
                with suppress(CheckpointNotWritten):
                    self.job.close()
        return RunOutcome("finished", 0)
