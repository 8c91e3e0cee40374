"""Tracks the jobs of a pool, in the ledger, the outcomes and on the terminal."""

import signal
import time
from pathlib import Path
from typing import Any

from expkit.records.run_folder import RunFolder
from expkit.sweeps.cluster import Cluster
from expkit.sweeps.display import Display
from expkit.sweeps.folder import SweepFolder
from expkit.sweeps.job import Outcome, SweepJob
from expkit.sweeps.pool import Ended, Pool, Task
from expkit.sweeps.results import take_result

_LOOK_EVERY = 0.5  # seconds, on a terminal
_LINE_EVERY = 60.0  # seconds, where lines are written


class Tracker:
    """The observer of a pool."""

    def __init__(
        self, folder: SweepFolder, outcomes: dict[int, Outcome], pool: Pool | Cluster, display: Display
    ) -> None:
        self.folder, self.outcomes, self.pool, self.display = folder, outcomes, pool, display
        self._before: dict[int, float] = {}
        self._looked = time.monotonic()
        self._has_noted_stop = False

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
        """Set a job's outcome by how its process ended."""
        conclude(self.outcomes[task.job.number], task.job, ended, task.output, bool(self.pool.asked))

    def tick(self) -> None:
        """Read how far the running jobs are, as often as it is displayed."""
        if self.pool.asked and not self._has_noted_stop:
            self._has_noted_stop = True
            self.display.note("stopping: the running jobs save their checkpoints; Ctrl+C again ends them at once")
        if time.monotonic() - self._looked < (_LOOK_EVERY if self.display.live else _LINE_EVERY):
            return
        self._looked = time.monotonic()
        for one in self.pool.running:
            job, outcome = one.task.job, self.outcomes[one.task.job.number]
            outcome.seconds = self._before[job.number] + time.perf_counter() - one.began
            outcome.folder = outcome.folder or self._run_folder(job)
            if outcome.folder:
                outcome.epoch, outcome.scores = RunFolder(outcome.folder).last_epoch()
        self.display.tick()

    def _run_folder(self, job: SweepJob) -> Path | None:
        found = sorted(self.folder.path.glob(f"{self.folder.prefix(job)}*/"), key=lambda path: path.stat().st_ctime_ns)
        return found[-1] if found else None


_ASKED = {130: "SIGINT", 143: "SIGTERM", 75: "SIGUSR1", -2: "SIGINT", -15: "SIGTERM"}
_MEMORY = "memory ran out and the system killed it; give fewer hydra.launcher.n_jobs or a smaller batch_size"


def conclude(outcome: Outcome, job: SweepJob, ended: Ended, output: Path, was_asked: bool) -> None:
    """Set a job's outcome by how its process ended. was_asked: whether the sweep had been asked to end."""
    outcome.reason = ""
    if outcome.folder:
        take_result(outcome, outcome.folder, job.monitor, job.higher)
    if ended.code == 0:
        recorded = RunFolder(outcome.folder).status if outcome.folder else ""
        outcome.status = "finished" if recorded == "finished" else "failed"
        outcome.reason = "" if recorded == "finished" else f"ended with a record that says '{recorded}'"
    elif ended.code in _ASKED or was_asked:
        outcome.status, outcome.reason = "interrupted", outcome.reason or _ASKED.get(ended.code, "killed")
    else:
        outcome.status = "failed"
        outcome.reason = outcome.reason or _reason(ended, output)


def _reason(ended: Ended, output: Path) -> str:
    if ended.out_of_memory:
        return _MEMORY
    if ended.code < 0:
        return f"killed by {signal.Signals(-ended.code).name}; see {output.name}"
    lines = [line for line in _last_lines(output) if line.strip()]
    faults = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    reason = "; ".join(faults) if faults else lines[-1] if lines else "it printed nothing"
    return f"{reason} (exit code {ended.code})"


def _last_lines(path: Path) -> list[str]:
    try:
        with open(path, "rb") as file:
            file.seek(max(file.seek(0, 2) - 4_000, 0))
            return file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
