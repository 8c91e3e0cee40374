"""The tasks of a sweep: each job with its name and place in the sweep's folder, resumed where it was before."""

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


def tasks_of(folder: SweepFolder, jobs: Sequence[SweepJob]) -> list[Task]:
    """Return a task for each job, which resumes its last attempt. Raises FolderInUse."""
    tasks = []
    for job in jobs:
        config = copy.deepcopy(job.config)
        config["name"] = folder.prefix(job) + run_name(job.config)
        config["output_dir"] = str(folder.path)
        config["device"]["threads"] = job.threads
        resume_last_attempt(config)
        tasks.append(Task(job, config, folder.output(job)))
    return tasks


def resume_last_attempt(config: dict[str, Any]) -> None:
    """Set a job to resume in the folder of its last attempt, if there is one. Raises FolderInUse."""
    number = config["name"].partition("-")[0]
    folders = sorted(Path(config["output_dir"]).glob(f"{number}-*/"), key=lambda path: path.stat().st_ctime_ns)
    if not folders or config["checkpoint"]["name"] == "none":
        return
    if all((folders[-1] / name).is_file() for name in ("record.json", "config.yaml")):
        _wait_for(folders[-1])
        config["checkpoint"]["resume"] = str(folders[-1])


def preload(configs: Sequence[dict[str, Any]]) -> None:
    """Import what the jobs will import, once for all of them."""
    import PIL.Image

    import expkit.runs.outcome  # noqa: F401  at a run's end

    PIL.Image.preinit()
    if any("tensorboard" in config["logger"] for config in configs):
        import tensorboardX  # noqa: F401


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
