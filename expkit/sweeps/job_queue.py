"""What each job that is to run begins with: a name and a place in the sweep's folder, or where it was before."""

import copy
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from expkit.core.lock import FolderInUse, FolderLock
from expkit.runs.resume import run_name
from expkit.sweeps.folder import SweepFolder
from expkit.sweeps.job import SweepJob
from expkit.sweeps.pool import Task

_PATIENCE = 60.0  # seconds for the jobs of a sweep that was killed to save their checkpoints


def attempts(folder: SweepFolder, jobs: Sequence[SweepJob]) -> list[Task]:
    """Return what is to run, each job from where its last attempt was. Raises FolderInUse."""
    tasks = []
    for job in jobs:
        config = copy.deepcopy(job.config)
        config["name"] = folder.prefix(job) + run_name(job.config)
        config["output_dir"] = str(folder.path)
        config["device"]["threads"] = job.threads
        go_on_where_it_was(config)
        tasks.append(Task(job, config, folder.output(job)))
    return tasks


def go_on_where_it_was(config: dict[str, Any]) -> None:
    """Have a job go on in the folder of its last attempt, if there is one to go on from. Raises FolderInUse."""
    number = config["name"].partition("-")[0]
    left = sorted(Path(config["output_dir"]).glob(f"{number}-*/"), key=lambda path: path.stat().st_ctime_ns)
    if left and config["checkpoint"]["name"] != "none" and _can_go_on(left[-1]):
        _wait_for(left[-1])
        config["checkpoint"]["resume"] = str(left[-1])


def warm(configs: Sequence[dict[str, Any]]) -> None:
    """Import what the jobs will import, once for all of them."""
    import PIL.Image

    import expkit.runs.outcome  # noqa: F401  at a run's end

    PIL.Image.preinit()
    if any("tensorboard" in config["logger"] for config in configs):
        import tensorboardX  # noqa: F401


def _can_go_on(folder: Path) -> bool:
    return (folder / "record.json").is_file() and (folder / "config.yaml").is_file()


def _wait_for(folder: Path) -> None:
    """Wait until a job of a sweep that was killed has saved its checkpoint. Raises FolderInUse if it never ends."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            FolderLock(folder).release()
            return
        except FolderInUse:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
