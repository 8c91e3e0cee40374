"""python -m expkit.sweeps.cluster_worker FILE: one job of a sweep, started by a launcher from its frozen config.

It starts the job in a process of its own, so that it can tell how that one ended, also when it was killed.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from expkit.core.files import write_text
from expkit.core.process import run_as_program

_LOOK = 0.5  # seconds between two looks for the file that asks to end


def main() -> None:
    """Run the job, and leave beside its file when it began and how it ended."""
    path = Path(sys.argv[1])
    if "--here" in sys.argv:
        _run(json.loads(path.read_text()))
        return
    stop, facts = path.parent / "stop", json.loads(path.read_text())
    write_text(path.with_suffix(".begun"), json.dumps({"host": socket.gethostname(), "process": os.getpid()}))
    began = time.perf_counter()
    code = 143
    if not stop.exists():
        with open(facts["output"], "ab", buffering=0) as output:
            job = subprocess.Popen(
                [sys.executable, "-m", "expkit.sweeps.cluster_worker", str(path), "--here"],
                stdout=output,
                stderr=output,
            )
            code = _follow(job, stop)
    write_text(path.with_suffix(".ended"), json.dumps({"code": code, "seconds": time.perf_counter() - began}))
    sys.exit(0)


def _follow(job: "subprocess.Popen[bytes]", stop: Path) -> int:
    """Wait for the job, and hand on what asks it to end: the sweep's file, or a scheduler's signal."""

    def hand_on(number: int, frame: FrameType | None) -> None:
        job.send_signal(signal.SIGTERM if number == signal.SIGTERM else signal.SIGUSR1)

    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):  # submitit tells of a time that runs out by USR2
        signal.signal(number, hand_on)
    is_asked = False
    while True:
        try:
            return job.wait(_LOOK)
        except subprocess.TimeoutExpired:
            if not is_asked and stop.exists():
                is_asked = True
                job.terminate()


def _run(facts: dict[str, Any]) -> None:
    if hasattr(signal, "SIGUSR2"):  # a scheduler may tell all processes of a job; the one above hands it on
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    from expkit.runs.train import sweep_job
    from expkit.sweeps.job_queue import go_on_where_it_was

    go_on_where_it_was(facts["config"])  # also where the scheduler took the machine and starts this job again
    sweep_job(facts["config"], facts["overrides"], facts["plugins"])


if __name__ == "__main__":
    run_as_program(main)
