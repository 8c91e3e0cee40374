"""Follows the jobs of a pool: what the ledger, the outcomes and the terminal are to say of them."""

import time
from pathlib import Path
from typing import Any

from expkit.sweeps.cluster import Cluster
from expkit.sweeps.display import Display
from expkit.sweeps.endings import conclude
from expkit.sweeps.folder import SweepFolder
from expkit.sweeps.job import Outcome, SweepJob
from expkit.sweeps.pool import Ended, Pool, Task
from expkit.sweeps.results import last_epoch

_LOOK_EVERY = 0.5  # seconds, on a terminal
_LINE_EVERY = 60.0  # seconds, where lines are written


class Watch:
    """What a pool calls when a job starts, ends, and in between."""

    def __init__(
        self, folder: SweepFolder, outcomes: dict[int, Outcome], pool: Pool | Cluster, display: Display
    ) -> None:
        self.folder, self.outcomes, self.pool, self.display = folder, outcomes, pool, display
        self._before: dict[int, float] = {}
        self._looked = time.monotonic()
        self._told = False

    def started(self, task: Task) -> None:
        outcome = self.outcomes[task.job.number]
        self._before[task.job.number] = outcome.seconds
        outcome.status, outcome.folder = "running", None
        self.folder.note("started", task.job, resume=task.config["checkpoint"].get("resume"))
        self.display.started(task.job)

    def ended(self, task: Task, ended: Ended) -> None:
        job, outcome = task.job, self.outcomes[task.job.number]
        outcome.seconds = self._before[job.number] + ended.seconds
        outcome.folder = self._run_folder(job)
        self.conclude(task, ended)
        facts: dict[str, Any] = {"status": outcome.status, "code": ended.code, "seconds": round(ended.seconds, 3)}
        place = outcome.folder.name if outcome.folder else None
        self.folder.note("ended", job, **facts, folder=place, reason=outcome.reason)
        self.display.ended(job)

    def conclude(self, task: Task, ended: Ended) -> None:
        """Take how a job's process ended into its outcome."""
        conclude(self.outcomes[task.job.number], task.job, ended, task.output, bool(self.pool.asked))

    def tick(self) -> None:
        """Look at how far the running jobs are, where somebody sees it."""
        if self.pool.asked and not self._told:
            self._told = True
            self.display.note("stops: the running jobs save their checkpoints; Ctrl+C again ends them at once")
        if time.monotonic() - self._looked < (_LOOK_EVERY if self.display.live else _LINE_EVERY):
            return
        self._looked = time.monotonic()
        for one in self.pool.running:
            job, outcome = one.task.job, self.outcomes[one.task.job.number]
            outcome.seconds = self._before[job.number] + time.perf_counter() - one.began
            outcome.folder = outcome.folder or self._run_folder(job)
            if outcome.folder:
                outcome.epoch, outcome.scores = last_epoch(outcome.folder)
        self.display.tick()

    def _run_folder(self, job: SweepJob) -> Path | None:
        found = sorted(self.folder.path.glob(f"{self.folder.prefix(job)}*/"), key=lambda path: path.stat().st_ctime_ns)
        return found[-1] if found else None
