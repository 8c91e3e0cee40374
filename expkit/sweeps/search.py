"""A search: trials drawn as the machine becomes free, reported to the study at every epoch and when they end."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path

from expkit.config.redaction.redactor import config_hash
from expkit.config.search_space import Space
from expkit.core.errors import ConfigError
from expkit.core.plots.bar_chart import share_chart, write_share_chart
from expkit.core.plots.svg import Line, line_chart
from expkit.records.epochs import monitored
from expkit.records.run_folder import RunFolder
from expkit.runs.check import check
from expkit.sweeps.display import Display
from expkit.sweeps.folder import SweepFolder
from expkit.sweeps.groups import what_differs
from expkit.sweeps.job import Outcome, SweepJob
from expkit.sweeps.job_queue import tasks_of
from expkit.sweeps.optuna_study import Study
from expkit.sweeps.pool import Ended, Pool, Task
from expkit.sweeps.preflight import Facts
from expkit.sweeps.resources import threads_of
from expkit.sweeps.results import take_result
from expkit.sweeps.scales import is_measured
from expkit.sweeps.tracker import Tracker
from expkit.sweeps.worker import Share

_LOOK = 0.2  # seconds between two looks at the scores of the running trials


def refuse_scales(probes: Sequence[SweepJob]) -> None:
    """Raise ConfigError where two values of a search are measured by different scores or images, or by none."""
    if not all(is_measured(probe.scale) for probe in probes):
        raise ConfigError(
            "hydra/sweeper=search: without validation images (dataset.val_fraction=0) no trial has a score; set"
            " dataset.val_fraction=0.2"
        )
    rankings = what_differs(probes)
    if len(rankings) < 2:
        return
    each = "; ".join(f"val/{order[1]}" + (f" with {what}" if what else "") for order, what in rankings.items())
    raise ConfigError(
        "hydra/sweeper=search: all trials are compared by one score on the same images, and these values are not:"
        f" {each}; search each in a command of its own"
    )


class Search:
    """The trials of a study, one job each: unfinished ones first, then new ones."""

    def __init__(
        self, folder: SweepFolder, outcomes: dict[int, Outcome], space: Space, study: Study, facts: Facts, share: Share
    ) -> None:
        self.folder, self.outcomes, self.space, self.study = folder, outcomes, space, study
        self.facts, self.share = facts, share
        self.pruned: dict[int, str] = {}  # job -> why
        folder.most = max(folder.most, study.most)

    @property
    def left(self) -> int:
        """The number of trials that are still to be run."""
        unfinished = sum(not self._is_over(job) for job in self.folder.jobs)
        return unfinished + max(self.study.most - len(self.folder.jobs), 0)

    def resume(self) -> None:
        """Read the outcomes of the trials so far from the ledger, and tell the study those that it lacks."""
        trials = {job.trial for job in self.folder.jobs if job.trial is not None}
        self.study.require(trials)
        for line in self.folder.ledger():
            if (outcome := self.outcomes.get(line["job"])) is None:  # the ledger was edited
                continue
            if line["event"] == "ended" and outcome.status != "finished" and line.get("status") in ("failed", "pruned"):
                if line.get("folder"):
                    take_result(outcome, self.folder.path / line["folder"], self.facts.monitor, self.facts.higher)
                outcome.status, outcome.reason = line["status"], line.get("reason", "")
        for job in self.folder.jobs:
            if self._is_over(job):
                self.tell(job)
        self.study.drop_unknown(trials)

    def _is_over(self, job: SweepJob) -> bool:
        return self.outcomes[job.number].status in ("finished", "pruned", "failed")

    def tasks(self) -> Iterator[Task]:
        """Yield what is to run; a new trial is drawn when it is asked for, from all results by then."""
        for job in list(self.folder.jobs):
            if not self._is_over(job):
                yield from tasks_of(self.folder, [job])
        while len(self.folder.jobs) < self.study.most:
            job, fault = self._draw()
            if not fault:
                yield from tasks_of(self.folder, [job])
                continue
            self.outcomes[job.number] = Outcome("failed", reason=fault)
            self.folder.note("ended", job, status="failed", reason=fault, folder=None)
            self.tell(job)

    def _draw(self) -> tuple[SweepJob, str]:
        """Return the job of a new trial, and what is wrong with its config."""
        number = len(self.folder.jobs)
        trial, values = self.study.ask(number)
        differs = {name: str(value) for name, value in values.items()}
        job = SweepJob(number, self.space.trial(values), {}, "", differs, self.facts.monitor, self.facts.higher)
        job.trial, job.scale, fault = trial, self.facts.scale, ""
        try:
            job.config = self.space.compose(job.overrides)
            job.digest, job.threads = config_hash(job.config), threads_of(job.config, self.share)
            check(job.config)
        except ConfigError as error:
            fault = "; ".join(error.faults)
        self.outcomes[number] = Outcome()
        self.folder.add(job)
        return job, fault

    def judge(self, job: SweepJob, run: Path) -> None:
        """Report the epochs of a run to the study, in their order, and note when it should be pruned.

        The decision depends on the scores alone, and not on when they were read: so trials are the same each time.
        """
        assert job.trial is not None
        name, epochs = f"val/{job.monitor}", job.config["epochs"]
        for epoch in RunFolder(run).epochs:
            score = monitored(epoch.scores, job.monitor)
            if score is None or not math.isfinite(score) or job.number in self.pruned:
                continue
            if self.study.report(job.trial, epoch.number - 1, score) and epoch.number < epochs:
                self.pruned[job.number] = f"{name} {score:.4f} in epoch {epoch.number} of {epochs} is too bad"

    def tell(self, job: SweepJob) -> None:
        """Tell the study how a job ended."""
        outcome = self.outcomes[job.number]
        if job.trial is None or self.study.is_over(job.trial) or not self._is_over(job):
            return
        if outcome.folder:
            self.judge(job, outcome.folder)
        # One that ended before it could be stopped is a finished job, and yet a pruned trial of the study.
        end = "pruned" if outcome.status == "finished" and job.number in self.pruned else outcome.status
        assert end in ("finished", "pruned", "failed")
        self.study.tell(job.trial, end, outcome.score)


class SearchTracker(Tracker):
    """Tracks the trials as they run: bad ones are stopped, and the study learns how each ended."""

    def __init__(self, search: Search, pool: Pool, display: Display) -> None:
        super().__init__(search.folder, search.outcomes, pool, display)
        self.search, self.jobs = search, pool
        self._judged = 0.0
        self._epochs: dict[int, int] = {}  # that have been judged
        self._stopped: set[int] = set()

    def tick(self) -> None:
        super().tick()
        if time.monotonic() - self._judged < _LOOK:
            return
        self._judged = time.monotonic()
        for one in self.jobs.running:
            job, outcome = one.task.job, self.outcomes[one.task.job.number]
            outcome.folder = outcome.folder or self._run_folder(job)
            done = RunFolder(outcome.folder).last_epoch()[0] if outcome.folder else 0
            if outcome.folder and done != self._epochs.get(job.number, 0):
                self._epochs[job.number] = done
                self.search.judge(job, outcome.folder)
            if job.number in self.search.pruned and job.number not in self._stopped:
                self._stopped.add(job.number)
                self.jobs.stop(job)

    def conclude(self, task: Task, ended: Ended) -> None:
        super().conclude(task, ended)
        job, outcome = task.job, self.outcomes[task.job.number]
        if job.number in self._stopped and outcome.status == "interrupted" and outcome.folder:
            outcome.status, outcome.reason = "pruned", self.search.pruned[job.number]
        self.search.tell(job)


def draw_search(folder: SweepFolder, outcomes: Mapping[int, Outcome], study: Study) -> list[str]:
    """Return charts of each key's importance, which also goes to importance.svg, and of the best score over trials."""
    charts = []
    if shares := study.importances():
        title = "importance: each key's share in the differences of the scores"
        write_share_chart(folder.path / "importance.svg", title, shares)
        charts.append(share_chart(title, shares))
    done = [(job.number, score) for job in folder.jobs if (score := _score(outcomes[job.number])) is not None]
    if len(done) > 1:
        numbers, scores = [float(number) for number, _ in done], [score for _, score in done]
        best = list(accumulate(scores, max if folder.jobs[0].higher else min))
        lines = [Line("best so far", numbers, best), Line("trial", numbers, scores, faint=True)]
        charts.append(line_chart(f"best val/{folder.jobs[0].monitor}, trial by trial", lines, "trial"))
    return charts


def _score(outcome: Outcome) -> float | None:
    finite = outcome.status == "finished" and outcome.score is not None and math.isfinite(outcome.score)
    return outcome.score if finite else None
