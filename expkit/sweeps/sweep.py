"""A sweep from its plan to its table: check, freeze or resume, run what is missing, rank."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from expkit.config.plan import JobConfig, Plan
from expkit.config.redaction.redactor import config_hash
from expkit.config.search_space import Space
from expkit.core.errors import ConfigError
from expkit.core.formatting import count_noun
from expkit.core.progress import bar
from expkit.core.terminal import Console
from expkit.records.cross_validation import show_folds
from expkit.records.run_folder import RunFolder
from expkit.runs.train import sweep_job
from expkit.sweeps.cluster import Cluster, cores_of
from expkit.sweeps.display import Display, show_plan, show_results
from expkit.sweeps.folder import SweepFolder, changes, of_another
from expkit.sweeps.job import Outcome, SweepJob, differing
from expkit.sweeps.job_queue import preload, tasks_of
from expkit.sweeps.optuna_study import Settings, Study, fewer_trials, settings_of, trials_of
from expkit.sweeps.page import write_page
from expkit.sweeps.pool import Pool
from expkit.sweeps.preflight import Facts, preflight
from expkit.sweeps.resources import share_out, threads_of
from expkit.sweeps.results import take_result, write_results
from expkit.sweeps.search import Search, SearchTracker, draw_search, refuse_scales
from expkit.sweeps.tracker import Tracker
from expkit.sweeps.worker import Share


@dataclass(frozen=True)
class SweepFlags:
    """The flags of a sweep.

    dry: show it, run nothing; new: do not resume the earlier one; frozen: resume with the configs as they were,
    although the files have changed; plugins: files of --plugin.
    """

    dry: bool = False
    new: bool = False
    frozen: bool = False
    plugins: tuple[str, ...] = ()


def run(plan: Plan, command: str, flags: SweepFlags) -> int:
    """Run the jobs of a checked plan, or show them; return the exit code. Raises ConfigError."""
    return SweepRun(command, flags)(plan)


class SweepRun:
    """Runs the jobs of a plan: all that a command line stands for, or those that a search draws."""

    def __init__(self, command: str, flags: SweepFlags) -> None:
        self.command, self.flags = command, flags
        self.train = partial(sweep_job, plugins=flags.plugins)
        self.console = Console(highlight=False)
        if not self.console.is_terminal:
            self.console.width = 10_000  # a pipe or file has no edge
        self._folder: SweepFolder | None = None
        self.outcomes: dict[int, Outcome] = {}

    @property
    def folder(self) -> SweepFolder:
        assert self._folder is not None
        return self._folder

    def __call__(self, plan: Plan) -> int:
        jobs = [self._job(number, one, plan.varied) for number, one in enumerate(plan.jobs)]
        settings = settings_of(plan.space.settings, plan.space.axes) if plan.space else None
        for note in [*plan.notes, *(fewer_trials(settings, plan.space.axes) if plan.space and settings else [])]:
            self.console.print(note, soft_wrap=True, markup=False)
        if self.flags.dry:
            self._dry(plan, jobs, settings)
            return 0
        try:
            if plan.space and settings:
                return self._search(plan, jobs, plan.space, settings)
            if self._open(plan, jobs):
                self._resume(plan, jobs)
            else:
                self._begin(plan, jobs)
            return self._run(plan, self.folder.jobs)
        finally:
            if self._folder:
                self._folder.lock.release()

    @staticmethod
    def _job(number: int, one: JobConfig, varied: Sequence[str]) -> SweepJob:
        """Return a job with a plain config: it is written to a file, and each attempt has a changed one."""
        config = copy.deepcopy(one.config)
        return SweepJob(number, one.overrides, config, config_hash(config), differing(one.overrides, varied))

    def _show(self, charts: Sequence[str] = (), left: int | None = None) -> None:
        """Write the results, and print them."""
        write_results(self.folder.path, self.folder.jobs, self.outcomes)
        page = write_page(self.folder.path, self.folder.jobs, self.outcomes, charts)
        show_results(self.console, self.folder.path, self.folder.jobs, self.outcomes, page, left)
        done = [self.outcomes[job.number] for job in self.folder.jobs if self._finished(job)]
        show_folds([one.folder for one in done if one.folder])

    def _finished(self, job: SweepJob) -> bool:
        return self.outcomes[job.number].status == "finished"

    def _dry(self, plan: Plan, jobs: list[SweepJob], settings: Settings | None) -> None:
        shares = self._shares(plan, jobs, 0)
        facts, gpus = self._check(jobs, shares[0].cores, measure=True)
        n_trials = trials_of(settings, plan.space.axes) if plan.space and settings else None
        show_plan(self.console, jobs, facts, len(self._shares(plan, jobs, gpus)), n_trials)

    def _shares(self, plan: Plan, jobs: Sequence[SweepJob], gpus: int) -> list[Share]:
        if plan.submit:
            return [Share(cores_of(plan.launcher))]
        return share_out([job.config for job in jobs], plan.launcher.get("n_jobs"), gpus)

    def _check(self, jobs: list[SweepJob], cores: int, measure: bool = False) -> tuple[list[Facts], int]:
        what = "checking and timing" if measure else "checking"
        with bar(what, len(jobs), "jobs" if len(jobs) > 1 else "job") as advance:
            return preflight([job.config for job in jobs], cores, measure, lambda: advance(1))

    def _freeze(self, plan: Plan, jobs: list[SweepJob]) -> None:
        """Check all jobs, and set the score that ranks each, its scale and its threads."""
        cores = self._shares(plan, jobs, 0)[0].cores
        facts, self.gpus = self._check(jobs, cores)
        share = self._shares(plan, jobs, self.gpus)[0]
        for job, fact in zip(jobs, facts, strict=True):
            job.monitor, job.higher, job.scale = fact.monitor, fact.higher, fact.scale
            job.threads = threads_of(job.config, share)

    def _begin(self, plan: Plan, jobs: list[SweepJob]) -> None:
        parent = str(jobs[0].config["output_dir"])
        self._freeze(plan, jobs)
        self._folder = SweepFolder.make(parent, plan.folder, plan.words, self.command, jobs, again=self.flags.new)
        self.outcomes = {job.number: Outcome() for job in jobs}
        if not self.folder.is_new:
            self._resume(plan, jobs)

    def _resume(self, plan: Plan, jobs: list[SweepJob]) -> None:
        """Find what is left of the sweep whose folder is open. Raises ConfigError where its configs have changed."""
        changed = changes(self.folder.jobs, jobs)
        if changed and not self.flags.frozen:
            raise ConfigError(
                f"{self.folder.path}: this command started a sweep there, and its configs have changed:",
                *changed,
                f"add --frozen to resume that sweep as it was, or {of_another(plan.folder)} to start another one",
            )
        self._read_outcomes()
        left = [job for job in self.folder.jobs if not self._finished(job)]
        self._print_progress(len(left), len(self.folder.jobs))
        if left:
            _, self.gpus = self._check(left, self._shares(plan, left, 0)[0].cores)

    def _open(self, plan: Plan, jobs: list[SweepJob]) -> bool:
        """Open the folder that the same command made, if there is one and no new one is wanted. Raises ConfigError."""
        parent = str(jobs[0].config["output_dir"])
        path = SweepFolder.find(parent, plan.folder, plan.words)
        if path is None or (self.flags.new and plan.folder is None):
            return False
        if self.flags.new:
            raise ConfigError(f"--new: {path} holds a sweep already; give another hydra.sweep.dir")
        self._folder = SweepFolder.open(path, plan.folder)
        return True

    def _print_progress(self, left: int, total: int) -> None:
        done = f"{total - left} of {count_noun(total, 'job is', 'jobs are')} finished"
        self.console.print(f"resumes {self.folder.path}: {done}", soft_wrap=True)

    def _read_outcomes(self) -> None:
        """Read the outcome of each job so far from the run folders and the ledger."""
        folders = self.folder.run_folders()
        self.outcomes = {job.number: Outcome() for job in self.folder.jobs}
        for line in self.folder.ledger():
            if (outcome := self.outcomes.get(line["job"])) is None:  # the ledger was edited
                continue
            if line["event"] == "started":
                outcome.earlier += 1
            else:
                outcome.seconds += line.get("seconds", 0.0)
        for job in self.folder.jobs:
            for path in reversed(folders.get(job.number, [])):
                if RunFolder(path).status == "finished":
                    self.outcomes[job.number].status = "finished"
                    take_result(self.outcomes[job.number], path, job.monitor, job.higher)
                    break

    def _run(self, plan: Plan, jobs: list[SweepJob]) -> int:
        """Run the jobs that are not finished; return the exit code."""
        preload([job.config for job in jobs])
        tasks = tasks_of(self.folder, [job for job in jobs if not self._finished(job)])
        shares = self._shares(plan, [task.job for task in tasks], self.gpus) if tasks else []
        pool: Pool | Cluster = Pool(self.train, shares)
        if plan.submit:
            pool = Cluster(plan.submit, self.folder.path, self.flags.plugins)
        display = Display(self.console, self.folder.jobs, self.outcomes)
        if tasks:
            with display.shown():
                pool.run(tasks, Tracker(self.folder, self.outcomes, pool, display))
        self._show()
        return 128 + pool.asked[0] if pool.asked else int(not all(map(self._finished, jobs)))

    def _search(self, plan: Plan, probes: list[SweepJob], space: Space, settings: Settings) -> int:
        """Run the trials of a search that are not over; return the exit code. probes: a job for each possible value."""
        is_old = self._open(plan, probes)
        self._freeze(plan, probes)
        refuse_scales(probes)
        if not is_old:
            parent, again = str(probes[0].config["output_dir"]), self.flags.new
            self._folder = SweepFolder.make(parent, plan.folder, plan.words, self.command, [], probes, again)
            is_old = not self.folder.is_new
        if is_old and (changed := changes(self.folder.probes(plan.folder), probes)):
            advice = f"undo it, or {of_another(plan.folder)} to start another search"
            raise ConfigError(f"{self.folder.path}: what this search began with has changed:", *changed, advice)
        self._read_outcomes()
        facts = Facts(probes[0].monitor, probes[0].higher, scale=probes[0].scale)
        share = self._shares(plan, probes, self.gpus)[0]
        study = Study(self.folder.path, space.axes, settings, facts.higher)
        search = Search(self.folder, self.outcomes, space, study, facts, share)
        search.resume()
        if is_old:
            self._print_progress(search.left, study.most)
        preload([job.config for job in probes])
        pool = Pool(self.train, self._shares(plan, probes * max(search.left, 1), self.gpus))
        if search.left:
            display = Display(self.console, self.folder.jobs, self.outcomes)
            display.most = study.most
            with display.shown():
                pool.run(search.tasks(), SearchTracker(search, pool, display))
        self._show(draw_search(self.folder, self.outcomes, study), search.left)
        return 128 + pool.asked[0] if pool.asked else int(not any(map(self._finished, self.folder.jobs)))
