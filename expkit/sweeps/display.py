"""A sweep on the terminal: a live table where there is a terminal, plain lines where there is none; the ranking."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Group as Together
from rich.console import RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from expkit.core.formatting import count_noun, duration, relative
from expkit.core.terminal import Console
from expkit.records.epochs import monitored
from expkit.sweeps.groups import Group, Ranking, rankings, replicates_in
from expkit.sweeps.job import Outcome, SweepJob, brief
from expkit.sweeps.preflight import Facts
from expkit.sweeps.scales import is_measured

_STYLES = {"finished": "green", "failed": "red", "running": "cyan", "waiting": "dim"}  # others: yellow
_MOST_ROWS = 40  # of the ranking on the terminal; the CSV has all


class Display:
    """Shows how far the jobs are; nothing runs in a thread, since the pool forks this process."""

    def __init__(self, console: Console, jobs: Sequence[SweepJob], outcomes: Mapping[int, Outcome]) -> None:
        self.console, self.jobs, self.outcomes = console, jobs, outcomes
        self.most = len(jobs)  # that there will be
        self.began = time.perf_counter()
        self.done_before = 0  # jobs that an earlier command finished
        self.live: Live | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the table, where there is a terminal, until the block ends."""
        self.done_before = sum(one.status == "finished" for one in self.outcomes.values())
        if not self.console.is_terminal:
            yield
            return
        with Live(self._table(), console=self.console, auto_refresh=False, transient=True) as self.live:
            yield

    def tick(self) -> None:
        if self.live:
            self.live.update(self._table(), refresh=True)
        else:
            self.console.print(self._line(), soft_wrap=True)

    def started(self, job: SweepJob) -> None:
        """Print that a job has started, where no table shows it."""
        if not self.live:
            _print(self.console, f"job {job.number}  {job.label}  started")

    def ended(self, job: SweepJob) -> None:
        one = self.outcomes[job.number]
        epoch = f" (epoch {one.best_epoch})" if one.best_epoch else ""
        score = "" if one.score is None else f"  best val/{job.monitor} {one.score:.4f}{epoch}"
        reason = f"  {one.reason}" if one.status != "finished" else ""
        counted = f"[{self._done()}/{self.most}]"
        text = f"{counted} job {job.number}  {job.label}  {one.status}{score}  {one.seconds:.1f} s{reason}"
        if not self.live or one.status != "finished":
            _print(self.console, text, "" if one.status == "finished" else "yellow")

    def note(self, text: str) -> None:
        _print(self.console, text, "yellow")

    def _done(self) -> int:
        return sum(one.status not in ("running", "waiting") for one in self.outcomes.values())

    def _table(self) -> RenderableType:
        shown = [job for job in self.jobs if self.outcomes[job.number].status == "running"]
        room = max(self.console.height - len(shown) - 8, 3)
        done = [job for job in self.jobs if self.outcomes[job.number].status not in ("running", "waiting")]
        table = Table(box=None, pad_edge=False)
        monitors = {job.monitor for job in self.jobs}
        for name in ("job", "", "status", "epoch", f"val/{monitors.pop()}" if len(monitors) == 1 else "score", "time"):
            table.add_column(name, justify="left" if name in ("", "status") else "right", no_wrap=True)
        for job in [*done[-room:], *shown]:
            one = self.outcomes[job.number]
            value = one.score if one.score is not None else monitored(one.scores, job.monitor)
            epochs = f"{one.epoch}/{job.config.get('epochs', '?')}"
            status = Text(one.status, style=_STYLES.get(one.status, "yellow"))
            label, score = Text(job.label, overflow="ellipsis"), "" if value is None else f"{value:.4f}"
            table.add_row(str(job.number), label, status, epochs, score, f"{one.seconds:.0f} s")
        return Together(table, self._line())

    def _line(self) -> Text:
        passed, done = time.perf_counter() - self.began, self._done()
        newly = done - self.done_before
        running = [job for job in self.jobs if self.outcomes[job.number].status == "running"]
        part = sum(self.outcomes[job.number].epoch / max(job.config["epochs"], 1) for job in running)
        left = passed / (newly + part) * (self.most - done - part) if newly + part > 0 else math.nan
        failed = sum(one.status == "failed" for one in self.outcomes.values())
        words = f"{done} of {count_noun(self.most, 'job')} done" + (f", {failed} failed" if failed else "")
        return Text(f"{words}  {duration(passed)}" + ("" if math.isnan(left) else f"  left {duration(left)}"), "bold")


def _print(console: Console, text: str, style: str = "") -> None:
    """Print a text, whose line is not broken."""
    console.print(Text(text, style=style), soft_wrap=True)


def show_plan(console: Console, jobs: Sequence[SweepJob], facts: Sequence[Facts], n_jobs: int,
              n_trials: int | None = None) -> None:  # fmt: skip
    """Print the jobs that there would be, and about how long they would take.

    n_trials: of a search, whose trials will be like these jobs.
    """
    table = Table(box=None, pad_edge=False)
    keys = list(dict.fromkeys(key for job in jobs for key in job.differs))
    for name in ("job", *keys, "parameters", "steps", "about"):
        table.add_column(Text(name), justify="left" if name in keys else "right")
    for job, fact in zip(jobs, facts, strict=True):
        values = (Text(job.differs.get(key, "")) for key in keys)
        cells = f"{fact.parameters:,}", f"{fact.steps:,}", duration(fact.seconds or 0.0)
        table.add_row(str(job.number), *values, *cells)
    console.print(table)
    total, count = sum(fact.seconds or 0.0 for fact in facts), len(jobs)
    if n_trials:
        total, count = total / count * n_trials, n_trials
    longest = max(fact.seconds or 0.0 for fact in facts)
    wall = max(total / n_jobs, longest)
    what = f"{count_noun(count, 'trial')} like these" if n_trials else count_noun(count, "job")
    text = f"{what}, {n_jobs} at a time: about {duration(wall)} ({duration(total)} of work"
    console.print(f"{text}, from a few batches of each kind; nothing was started)", soft_wrap=True)


def show_results(
    console: Console, folder: Path, jobs: Sequence[SweepJob], outcomes: Mapping[int, Outcome], page: Path | None,
    left: int | None = None,
) -> None:  # fmt: skip
    """Print what did not finish, the ranking of what did, and where the best is. left: jobs that are to be run."""
    failed = [job for job in jobs if outcomes[job.number].status in ("failed", "interrupted")]
    for job in failed:
        one = outcomes[job.number]
        _print(console, f"job {job.number}  {job.label}  {one.status}: {one.reason}", "yellow")
    ranked = [ranking for ranking in rankings(jobs, outcomes) if ranking.groups]
    if ranked and ranked[0].of > 1:
        text = "these jobs were measured by different scores or on different images: each kind has its own ranking"
        _print(console, text, "yellow")
    for ranking in ranked:
        _show_ranking(console, folder, ranking, outcomes)
    if not all(is_measured(job.scale) for job in jobs if outcomes[job.number].status == "finished"):
        what = "these jobs are not ranked" if ranked else "nothing is ranked"
        text = f"{what}: without validation images (dataset.val_fraction=0) no score says which is best"
        _print(console, text, "yellow")
    console.print(f"table    {relative(folder / 'results.csv')}, results.json", soft_wrap=True)
    if page:
        console.print(f"see      {relative(page)}", soft_wrap=True)
    if left is None:
        left = sum(outcomes[job.number].status != "finished" for job in jobs)
    if left:
        _print(console, f"resume   the same command runs the {count_noun(left, 'unfinished job')}")


def _show_ranking(console: Console, folder: Path, ranking: Ranking, outcomes: Mapping[int, Outcome]) -> None:
    if ranking.of > 1:
        _print(console, f"\nranking {ranking.place} of {ranking.of}: {ranking.title}", "bold")
    console.print(_ranking(ranking, outcomes))
    if len(ranking.groups) > _MOST_ROWS:
        console.print(f"... and {len(ranking.groups) - _MOST_ROWS} more in results.csv")
    pick = max if ranking.higher else min
    best = pick(ranking.groups[0].members, key=lambda job: outcomes[job.number].score or 0.0)
    place = outcomes[best.number].folder
    _print(console, f"best     {best.label}  {relative(place) if place else ''}")
    _print(console, f"recipe   {relative(folder / ranking.recipe)}  (copy it to conf/experiment/)")


def _ranking(ranking: Ranking, outcomes: Mapping[int, Outcome]) -> Table:
    """Return the table; all scores in a row belong to the best checkpoints, and so to one epoch of each job."""
    groups, score = ranking.groups, f"val/{ranking.monitor}"
    members = [job for group in groups for job in group.members]
    keys = list(dict.fromkeys(key for group in groups for key in group.differs))
    others = sorted({name for job in members for name in outcomes[job.number].best_scores} - {score})
    spread = ["± std", "± 95 %", replicates_in(members)] if max(group.planned for group in groups) > 1 else []
    table = Table(box=None, pad_edge=False)
    for name in ("rank", *keys, f"best {score}", *spread, "epoch", *others, "time"):
        table.add_column(Text(name), justify="left" if name in keys else "right")
    rank = 1
    for place, group in enumerate(groups[:_MOST_ROWS]):
        rank = rank if group.is_tied and rank == 1 else place + 1
        ones = [outcomes[job.number] for job in group.members]
        times = sum(one.seconds for one in ones) / len(ones)
        means = [_mean([one.best_scores[name] for one in ones if name in one.best_scores]) for name in others]
        widths = [_number(group.std), _number(group.half), _count(group)] if spread else []
        shown = f"{rank} tie" if group.is_tied else str(rank)
        values = [Text(brief(group.differs.get(key, ""))) for key in keys]
        cells = [f"{group.mean:.4f}", *widths, _epochs(ones), *map(_number, means), f"{times:.1f} s"]
        table.add_row(shown, *values, *cells)
    return table


def _epochs(ones: Sequence[Outcome]) -> str:
    """Return the epochs of the best checkpoints: 7, or 5–8."""
    found = sorted({one.best_epoch for one in ones if one.best_epoch})
    return "" if not found else str(found[0]) if len(found) == 1 else f"{found[0]}–{found[-1]}"


def _count(group: Group) -> str:
    done = len(group.scores)
    return str(done) if done == group.planned else f"{done} of {group.planned}"


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4f}"
