"""What the end of a job's process means for the table."""

import signal
from pathlib import Path

from expkit.sweeps.job import Outcome, SweepJob
from expkit.sweeps.pool import Ended
from expkit.sweeps.results import read_run, status_of

_ASKED = {130: "SIGINT", 143: "SIGTERM", 75: "SIGUSR1", -2: "SIGINT", -15: "SIGTERM"}
_MEMORY = "memory ran out and the system killed it; give fewer hydra.launcher.n_jobs or a smaller batch_size"


def conclude(outcome: Outcome, job: SweepJob, ended: Ended, output: Path, was_asked: bool) -> None:
    """Take how a job's process ended into its outcome. was_asked: whether the sweep had been asked to end."""
    outcome.reason = ""
    if outcome.folder:
        read_run(outcome.folder, outcome, job.monitor, job.higher)
    if ended.code == 0:
        recorded = status_of(outcome.folder) if outcome.folder else ""
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
    told = "; ".join(faults) if faults else lines[-1] if lines else "it printed nothing"
    return f"{told} (exit code {ended.code})"


def _last_lines(path: Path) -> list[str]:
    try:
        with open(path, "rb") as file:
            file.seek(max(file.seek(0, 2) - 4_000, 0))
            return file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
