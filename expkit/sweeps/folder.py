"""A sweep's folder: its frozen jobs, a ledger of what happened, and the run folders of the jobs."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from expkit.config.diff import differences
from expkit.core.errors import ConfigError
from expkit.core.files import append_line, read_json_object, write_bytes, write_json
from expkit.core.formatting import count_noun, timestamp
from expkit.core.lock import FolderLock
from expkit.core.run_folder import make_run_folder
from expkit.core.user_folders import expanded
from expkit.loggers.line_file import read_lines
from expkit.sweeps.job import SweepJob

if sys.platform != "win32":
    import fcntl

FACTS = "sweep.json"
JOBS = "jobs.jsonl"
PROBES = "probes.jsonl"
LEDGER = "ledger.jsonl"
_KINDS: dict[str, Any] = {
    "number": int, "overrides": list, "config": dict, "digest": str, "differs": dict, "monitor": str, "higher": bool,
    "threads": int, "trial": int | None, "scale": str,
}  # fmt: skip


_OTHER = "give another folder"


def of_another(typed: str | None) -> str:
    """Return how another sweep is started: a folder that was typed holds only one. typed: hydra.sweep.dir."""
    return "give another hydra.sweep.dir" if typed else "add --new"


class SweepFolder:
    """What one sweep writes; locked while it runs, so that a job cannot be run twice at once."""

    def __init__(self, path: Path, jobs: list[SweepJob], is_new: bool = True) -> None:
        self.path, self.jobs, self.is_new = path, jobs, is_new
        self.most = len(jobs)  # that there can be, which a search knows from the start
        self.lock = FolderLock(path)

    @classmethod
    def make(
        cls, parent: str, typed: str | None, words: Sequence[str], command: str, jobs: list[SweepJob],
        probes: list[SweepJob] | None = None, again: bool = False,
    ) -> "SweepFolder":  # fmt: skip
        """Freeze jobs in a new folder: the typed one, or one in parent/sweeps. Raises ConfigError.

        probes: of a search; again: also where the same command has made one. A folder that the same command has made
        since this one looked for it is opened in place of a new one: is_new is False. mkdir makes a folder of ours, so
        that no two commands share it; the lock decides between two that typed the same.
        """
        folder = expanded(typed) if typed else None
        with nullcontext() if folder else _alone(expanded(parent) / "sweeps"):
            if folder:
                folder.mkdir(parents=True, exist_ok=True)
            elif not again and (twin := cls.find(parent, None, words)):
                return cls.open(twin)
            made = cls(folder or make_run_folder(f"{parent}/sweeps", "sweep"), jobs)
            if (made.path / FACTS).is_file():
                made.lock.release()
                raise ConfigError(f"hydra.sweep.dir: {made.path} was taken by another sweep just now; {_OTHER}")
            _write_jobs(made.path / JOBS, jobs)
            if probes is not None:
                _write_jobs(made.path / PROBES, probes)
            facts = {"format": 1, "words": list(words), "command": command, "started": timestamp(), "jobs": len(jobs)}
            write_json(made.path / FACTS, facts)  # last: a folder without them is no sweep yet
            return made

    @classmethod
    def find(cls, parent: str, typed: str | None, words: Sequence[str]) -> Path | None:
        """Return the newest sweep that the same command line has started, or None."""
        places = [expanded(typed)] if typed else sorted(expanded(parent).glob("sweeps/*/"))
        for path in sorted(places, key=lambda place: place.name, reverse=True):
            facts = read_json_object(path / FACTS)
            if facts and (typed or facts.get("words") == list(words)):
                if facts.get("words") != list(words):
                    raise ConfigError(f"hydra.sweep.dir: {path} holds another sweep ({facts.get('command')}); {_OTHER}")
                return path
        return None

    @classmethod
    def open(cls, path: Path, typed: str | None = None) -> "SweepFolder":
        """Open an earlier sweep, with its frozen jobs. Raises ConfigError, or FolderInUse where it is running.

        typed: hydra.sweep.dir, if it is given.
        """
        return cls(path, _read_jobs(path / JOBS, typed), is_new=False)

    def probes(self, typed: str | None = None) -> list[SweepJob]:
        """Return what a search tried out before its first trial. Raises ConfigError."""
        return _read_jobs(self.path / PROBES, typed)

    def add(self, job: SweepJob) -> None:
        """Freeze one more job, of a search, which chooses as it goes."""
        self.jobs.append(job)
        _write_jobs(self.path / JOBS, self.jobs)

    def note(self, event: str, job: SweepJob, **facts: Any) -> None:
        """Add a line to the ledger."""
        line = {"time": timestamp(), "event": event, "job": job.number, "config_sha256": job.digest, **facts}
        append_line(self.path / LEDGER, json.dumps(line).encode())

    def ledger(self) -> list[dict[str, Any]]:
        """Return the lines of the ledger; one that was cut off by a kill is skipped."""
        path = self.path / LEDGER
        return [line for line, _ in read_lines(path) if _is_entry(line)] if path.is_file() else []

    def prefix(self, job: SweepJob) -> str:
        return f"{job.number:0{max(3, len(str(self.most)))}d}-"

    def run_folders(self) -> dict[int, list[Path]]:
        """Return the run folders of each job, the oldest first."""
        found: dict[int, list[Path]] = {}
        for path in self.path.iterdir():
            number, dash, _ = path.name.partition("-")
            if dash and number.isdigit() and path.is_dir():
                found.setdefault(int(number), []).append(path)
        return {number: sorted(paths, key=lambda path: path.stat().st_ctime_ns) for number, paths in found.items()}

    def output(self, job: SweepJob) -> Path:
        """Return the file that holds what a job's process prints."""
        folder = self.path / "output"
        folder.mkdir(exist_ok=True)
        return folder / f"{self.prefix(job).rstrip('-')}.txt"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time make sweeps in a folder, where the system has locks."""
    folder.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # not every network file system has them
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def changes(before: Sequence[SweepJob], now: Sequence[SweepJob]) -> list[str]:
    """Return what differs between the jobs that a sweep froze and those that its command stands for now."""
    old = {tuple(job.overrides): job for job in before}
    new = {tuple(job.overrides): job for job in now}
    counts: dict[str, int] = {}
    for words in old.keys() & new.keys():
        if old[words].digest != new[words].digest:
            for one in differences(old[words].config, new[words].config):
                counts[str(one)] = counts.get(str(one), 0) + 1
    lines = [f"{text} ({count} of {count_noun(len(new), 'job')})" for text, count in sorted(counts.items())]
    for kind, some in (("more", new.keys() - old.keys()), ("no longer", old.keys() - new.keys())):
        lines += [f"{kind}: {count_noun(len(some), 'job')}, e.g. {' '.join(min(some))}"] if some else []
    return lines


def _write_jobs(path: Path, jobs: Iterable[SweepJob]) -> None:
    lines = "".join(json.dumps(asdict(job)) + "\n" for job in jobs)
    write_bytes(path, lines.encode())


def _is_entry(line: dict[str, Any]) -> bool:
    """Return True if a line of the ledger is one that `note` writes."""
    if not isinstance(line.get("event"), str) or not isinstance(line.get("job"), int):
        return False
    return isinstance(line.get("seconds", 0.0), int | float) and isinstance(line.get("reason", ""), str)


def _read_jobs(path: Path, typed: str | None) -> list[SweepJob]:
    """Return the frozen jobs of a sweep. Raises ConfigError where the file is damaged."""
    advice = f"{of_another(typed)} to begin another sweep"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        jobs = [SweepJob(**json.loads(line)) for line in lines]
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); {advice}") from error
    for number, job in enumerate(jobs):
        if wrong := [name for name, kind in _KINDS.items() if not isinstance(getattr(job, name), kind)]:
            raise ConfigError(f"{path}, line {number + 1}: `{wrong[0]}` is damaged; {advice}")
        groups = (job.config.get(name) for name in ("dataset", "device", "checkpoint"))
        texts = (*job.overrides, *job.differs.values())
        fits = all(isinstance(one, str) for one in texts) and all(isinstance(one, dict) for one in groups)
        if job.number != number or not fits:
            raise ConfigError(f"{path}, line {number + 1}: is damaged; {advice}")
    return jobs
