"""python -m expkit.sweeps.cluster_worker FILE: one job of a sweep, started by a launcher from its frozen config.

It starts the job in a process of its own, so that it can report how that one ended, also when it was killed.
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
    """Run the job, and write beside its file when it began and how it ended."""
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
            command = [sys.executable, "-m", "expkit.sweeps.cluster_worker", str(path), "--here"]
            code = _wait(subprocess.Popen(command, stdout=output, stderr=output), stop)
    write_text(path.with_suffix(".ended"), json.dumps({"code": code, "seconds": time.perf_counter() - began}))
    sys.exit(0)


def _wait(job: "subprocess.Popen[bytes]", stop: Path) -> int:
    """Wait for the job, and pass on what asks it to end: the sweep's file, or a scheduler's signal."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        job.send_signal(signal.SIGTERM if number == signal.SIGTERM else signal.SIGUSR1)

    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):  # submitit sends USR2 when the time runs out
        signal.signal(number, pass_on)
    is_asked = False
    while True:
        try:
            return job.wait(_LOOK)
        except subprocess.TimeoutExpired:
            if not is_asked and stop.exists():
                is_asked = True
                job.terminate()


def _run(facts: dict[str, Any]) -> None:
    if hasattr(signal, "SIGUSR2"):  # a scheduler may signal all processes of a job; the one above passes it on
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    from expkit.runs.train import sweep_job
    from expkit.sweeps.job_queue import resume_last_attempt

    resume_last_attempt(facts["config"])  # also where the scheduler preempted this job and starts it again
    sweep_job(facts["config"], facts["overrides"], facts["plugins"])


if __name__ == "__main__":
    run_as_program(main)
