"""A sweep from its plan to its table: check, freeze or take up again, run what is missing, rank."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from expkit.config import Plan
from expkit.folds import show_folds
from expkit.progress import bar
from expkit.records import config_hash
from expkit.registry import ConfigError
from expkit.sweeps.attempts import attempts, warm
from expkit.sweeps.display import Display, show_plan, show_results
from expkit.sweeps.folder import SweepFolder, changes
from expkit.sweeps.job import Outcome, SweepJob, differing
from expkit.sweeps.page import write_page
from expkit.sweeps.pool import Pool
from expkit.sweeps.rehearsal import Facts, rehearse
from expkit.sweeps.results import read_run, status_of, write_results
from expkit.sweeps.shares import share_out, threads_of
from expkit.sweeps.watch import Watch
from expkit.sweeps.worker import Share, Train


@dataclass(frozen=True)
class SweepFlags:
    """What the command line says of a sweep. dry: show it, run nothing; new: do not take up the one before; frozen: go
    on with the configs as they were, though the files are others now."""

    dry: bool = False
    new: bool = False
    frozen: bool = False


class SweepRun:
    """Runs the jobs of plans: all of a command line's at once, or batch by batch as a sweeper chooses them."""

    def __init__(self, train: Train, command: str, flags: SweepFlags, console: Console | None = None) -> None:
        self.train, self.command, self.flags = train, command, flags
        self.console = console or Console(highlight=False)
        if not self.console.is_terminal:
            self.console.width = 10_000  # a pipe or file has no edge
        self.folder: SweepFolder | None = None
        self.outcomes: dict[int, Outcome] = {}
        self.is_search = False
        self.code = 0  # what the process should end with

    def __call__(self, plan: Plan) -> Sequence[float | None]:
        """Run a plan's jobs; returns the score of each. Raises ConfigError, and KeyboardInterrupt in a search."""
        jobs = [
            SweepJob(number, one.overrides, one.config, config_hash(one.config), differing(one.overrides, plan.varied))
            for number, one in enumerate(plan.jobs or ())
        ]
        if self.flags.dry:
            self._dry(plan, jobs)
            return []
        self.is_search = plan.is_batch
        if plan.is_batch:
            jobs = self._batch(plan, jobs)
        else:
            if not self._take_up(plan, jobs):
                self._begin(plan, jobs)
            assert self.folder is not None
            jobs = self.folder.jobs
        assert self.folder is not None
        try:
            asked = self._run(plan, jobs)
        finally:
            if not plan.is_batch:
                self.folder.lock.release()
        if asked and plan.is_batch:
            raise KeyboardInterrupt
        return [self.outcomes[job.number].score if self._finished(job) else None for job in jobs]

    def close(self) -> None:
        """Show what a search found, once it is over."""
        if self.is_search and self.folder:
            self._show()
            self.folder.lock.release()

    def _show(self) -> None:
        assert self.folder is not None
        page = write_page(self.folder.path, self.folder.jobs, self.outcomes)
        show_results(self.console, self.folder.path, self.folder.jobs, self.outcomes, page)
        done = [self.outcomes[job.number] for job in self.folder.jobs if self._finished(job)]
        show_folds([one.folder for one in done if one.folder])

    def _finished(self, job: SweepJob) -> bool:
        return self.outcomes[job.number].status == "finished"

    def _dry(self, plan: Plan, jobs: list[SweepJob]) -> None:
        shares = self._shares(plan, jobs, 0)
        facts, gpus = self._check(jobs, shares[0].cores, measure=True)
        show_plan(self.console, jobs, facts, len(self._shares(plan, jobs, gpus)))

    def _shares(self, plan: Plan, jobs: Sequence[SweepJob], gpus: int) -> list[Share]:
        return share_out([job.config for job in jobs], plan.launcher.get("n_jobs"), gpus)

    def _check(self, jobs: list[SweepJob], cores: int, measure: bool = False) -> tuple[list[Facts], int]:
        with bar("checking and timing" if measure else "checking", len(jobs)) as advance:
            return rehearse([job.config for job in jobs], cores, measure, lambda: advance(1))

    def _freeze(self, plan: Plan, jobs: list[SweepJob]) -> None:
        """Check all jobs, and write into them what is known now: what ranks them, and their threads."""
        cores = self._shares(plan, jobs, 0)[0].cores
        facts, self.gpus = self._check(jobs, cores)
        share = self._shares(plan, jobs, self.gpus)[0]
        for job, fact in zip(jobs, facts, strict=True):
            job.monitor, job.higher = fact.monitor, fact.higher
            job.threads = threads_of(job.config, share)

    def _begin(self, plan: Plan, jobs: list[SweepJob]) -> None:
        parent = str(jobs[0].config["output_dir"])
        self._freeze(plan, jobs)
        self.folder = SweepFolder.make(parent, plan.folder, plan.words, self.command, jobs)
        self.outcomes = {job.number: Outcome() for job in jobs}

    def _batch(self, plan: Plan, jobs: list[SweepJob]) -> list[SweepJob]:
        """Add the jobs that a sweeper chose just now to the sweep's folder."""
        first = len(self.folder.jobs) if self.folder else 0
        for job in jobs:
            job.number += first
        if self.folder is None:
            self._begin(plan, jobs)
        else:
            self._freeze(plan, jobs)
            self.folder.add(jobs)
            self.outcomes |= {job.number: Outcome() for job in jobs}
        return jobs

    def _take_up(self, plan: Plan, jobs: list[SweepJob]) -> bool:
        """Open the sweep that the same command began, if there is one. Raises ConfigError where its base changed."""
        parent = str(jobs[0].config["output_dir"])
        path = SweepFolder.find(parent, plan.folder, plan.words)
        if path is None or (self.flags.new and plan.folder is None):
            return False
        if self.flags.new:
            raise ConfigError(f"--new: {path} holds a sweep already; give another hydra.sweep.dir")
        folder = SweepFolder.open(path)
        changed = changes(folder.jobs, jobs)
        if changed and not self.flags.frozen:
            folder.lock.release()
            raise ConfigError(
                f"{path}: this command began a sweep there, and its configs are others now:",
                *changed,
                "add --frozen to go on with that sweep as it was, or --new to begin another one",
            )
        self.folder = folder
        self._look_back()
        left = [job for job in folder.jobs if not self._finished(job)]
        done = len(folder.jobs) - len(left)
        self.console.print(f"goes on with {path}: {done} of {len(folder.jobs)} jobs are finished", soft_wrap=True)
        if left:
            _, self.gpus = self._check(left, self._shares(plan, left, 0)[0].cores)
        return True

    def _look_back(self) -> None:
        """Learn from the run folders and the ledger what came of each job so far."""
        assert self.folder is not None
        folders = self.folder.run_folders()
        self.outcomes = {job.number: Outcome() for job in self.folder.jobs}
        for line in self.folder.ledger():
            outcome = self.outcomes[line["job"]]
            if line["event"] == "started":
                outcome.earlier += 1
            else:
                outcome.seconds += line.get("seconds", 0.0)
        for job in self.folder.jobs:
            for path in reversed(folders.get(job.number, [])):
                if status_of(path) == "finished":
                    self.outcomes[job.number].status = "finished"
                    read_run(path, self.outcomes[job.number], job.monitor)
                    break

    def _run(self, plan: Plan, jobs: list[SweepJob]) -> list[int]:
        """Run the jobs that are not finished; returns the signals that came meanwhile."""
        assert self.folder is not None
        warm([job.config for job in jobs])
        tasks = attempts(self.folder, [job for job in jobs if not self._finished(job)])
        shares = self._shares(plan, [task.job for task in tasks], self.gpus) if tasks else []
        pool, display = Pool(self.train, shares), Display(self.console, self.folder.jobs, self.outcomes)
        watch = Watch(self.folder, self.outcomes, pool, display)
        if tasks:
            display.start()
            try:
                pool.run(tasks, watch.started, watch.ended, watch.tick)
            finally:
                display.stop()
        write_results(self.folder.path, self.folder.jobs, self.outcomes)
        if not plan.is_batch:
            self._show()
        failed = any(not self._finished(job) for job in jobs)
        self.code = 128 + pool.asked[0] if pool.asked else int(failed)
        return pool.asked
