"""Jobs on other machines: frozen in the sweep's folder, submitted to one of Hydra's launchers, tracked by their files.

The launcher (submitit's for Slurm, Ray's) decides where and when; what it runs is
`python -m expkit.sweeps.cluster_worker FILE`, which composes nothing. All machines see the sweep's folder.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from expkit.config.plan import Submit
from expkit.core.files import write_bytes
from expkit.sweeps.pool import Ended, Observer, Task, handling_signals

_TICK = 0.25  # seconds between two looks at what the jobs have done
TASKS = "tasks"  # the folder of frozen jobs, within the sweep's
STOP = "stop"  # the file in it that asks all jobs to end


@dataclass
class Running:
    task: Task
    began: float


def cores_of(launcher: Mapping[str, Any]) -> int:
    """Return the cores of a job by the launcher's settings; schedulers give one where none are asked for."""
    ray = launcher.get("ray") or {}
    return int(launcher.get("cpus_per_task") or (ray.get("remote") or {}).get("num_cpus") or 1)


class Cluster:
    """Runs tasks through a launcher, as `Pool` does on this machine.

    A signal that asks to end reaches the jobs by a file in the sweep's folder: each saves a checkpoint. Another Ctrl+C
    leaves at once; what runs then runs to its end, and the next command finds it.
    """

    def __init__(self, submit: Submit, folder: Path, plugins: tuple[str, ...]) -> None:
        self.submit, self.folder, self.plugins = submit, folder, plugins
        self.running: list[Running] = []
        self.asked: list[int] = []
        self._error = ""

    def run(self, tasks: Iterable[Task], observer: Observer) -> None:
        """Run all tasks."""
        waiting = list(tasks)
        files = [self._freeze(task) for task in waiting]
        thread = threading.Thread(target=self._submit, args=(files,), daemon=True)  # launchers wait for their jobs
        with handling_signals(self._ask):
            thread.start()
            while waiting or self.running:
                is_last = not thread.is_alive()
                waiting = [task for task in waiting if not self._has_begun(task, observer)]
                self.running = [one for one in self.running if not self._has_ended(one, observer)]
                if is_last and (waiting or self.running):
                    self._give_up(waiting, observer)
                    return
                observer.tick()
                time.sleep(_TICK)

    def _freeze(self, task: Task) -> str:
        path = self._place(task)
        path.parent.mkdir(exist_ok=True)
        for old in (self._place(task, "begun"), self._place(task, "ended"), path.parent / STOP):
            old.unlink(missing_ok=True)
        facts: dict[str, Any] = {"config": task.config, "overrides": task.job.overrides, "plugins": self.plugins}
        facts |= {"output": str(task.output.absolute()), "threads": task.job.threads}
        write_bytes(path, json.dumps(facts).encode())
        return str(path.absolute())

    def _place(self, task: Task, what: str = "json") -> Path:
        return self.folder / TASKS / f"{task.output.stem}.{what}"

    def _submit(self, files: list[str]) -> None:
        try:
            self.submit(starter(files, os.getcwd()), len(files), self.folder)
        except BaseException as error:  # it is reported with the jobs that it has lost
            self._error = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"

    def _has_begun(self, task: Task, observer: Observer) -> bool:
        if not self._place(task, "begun").is_file():
            return False
        observer.started(task)
        self.running.append(Running(task, time.perf_counter()))
        return True

    def _has_ended(self, one: Running, observer: Observer) -> bool:
        try:
            end = json.loads(self._place(one.task, "ended").read_text())
        except (OSError, ValueError):
            return False
        observer.ended(one.task, Ended(end["code"], end["seconds"]))
        return True

    def _give_up(self, waiting: list[Task], observer: Observer) -> None:
        """Report the jobs that the launcher has lost, or never started."""
        for task in waiting:
            observer.started(task)
        reason = self._error or "the launcher is done, and this job did not report how it ended"
        for one in [*self.running, *(Running(task, time.perf_counter()) for task in waiting)]:
            with open(one.task.output, "a", encoding="utf-8") as file:
                file.write(f"error: lost by the launcher: {reason}\n")
            observer.ended(one.task, Ended(1, time.perf_counter() - one.began))
        self.running = []

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked.append(number)
        (self.folder / TASKS / STOP).touch()
        if len(self.asked) > 1 and number == signal.SIGINT:
            raise KeyboardInterrupt


def starter(files: list[str], folder: str) -> Callable[[int], int]:
    """Return what a launcher's process calls with a job's number; it carries all it needs, for pickle."""
    words = [sys.executable, "-m", "expkit.sweeps.cluster_worker"]

    def start(number: int) -> int:
        import subprocess

        return subprocess.run([*words, files[number]], cwd=folder, check=False).returncode

    return start
