"""The ranking of a sweep: jobs that repeat a setting are one row, and only comparable settings are ranked together."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from expkit.records.epochs import mean_and_deviation
from expkit.sweeps.job import Outcome, SweepJob

# A setting is repeated with another seed, on another fold, or with another part held out: its scores are averaged.
# Beside each the values to try.
REPLICATES = {"seed": "0,1,2", "dataset.fold": "'range(5)'", "dataset.split_seed": "0,1,2"}
_PLURALS = {"seed": "seeds", "dataset.fold": "folds", "dataset.split_seed": "splits"}

# Two-sided 95 % quantiles of Student's t for 1, 2, ... degrees of freedom (NIST/SEMATECH e-Handbook, 1.3.6.7.2).
_T95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


@dataclass
class Group:
    """Jobs of one setting, which differ in seed or fold alone. mean, std, half: of their scores, half the width of the
    mean's 95 % confidence interval (nan for one job); is_tied: the scores do not separate it from the best one.

    scores: by the job's seed and fold (seed=0 dataset.fold=2); planned: how many jobs it has in all.
    """

    differs: dict[str, str]
    members: list[SweepJob]
    scores: dict[str, float]
    planned: int = 0
    mean: float = math.nan
    std: float = math.nan
    half: float = math.nan
    is_tied: bool = False


@dataclass
class Ranking:
    """Settings that were measured alike, the best first; only these can be compared.

    what: the swept values that only these jobs have (dataset=mnist), or ""; place, of: the number of this ranking, from
    1, and of all rankings of the sweep.
    """

    monitor: str
    higher: bool
    groups: list[Group]
    what: str = ""
    place: int = 1
    of: int = 1

    @property
    def recipe(self) -> str:
        """The name of the file that holds the best setting."""
        return "best.yaml" if self.of == 1 else f"best_{self.place}.yaml"

    @property
    def title(self) -> str:
        return f"val/{self.monitor}" + (f", {self.what}" if self.what else "")


def rankings(jobs: Sequence[SweepJob], outcomes: Mapping[int, Outcome]) -> list[Ranking]:
    """Return a ranking for each score and set of images by which some jobs were measured and others were not."""
    orders = list(dict.fromkeys(job.order for job in jobs))
    what = what_differs(jobs)
    found = []
    for place, order in enumerate(orders, 1):
        groups = grouped([job for job in jobs if job.order == order], outcomes)
        found.append(Ranking(order[1], order[2], groups, what[order], place, len(orders)))
    return found


def grouped(jobs: Sequence[SweepJob], outcomes: Mapping[int, Outcome]) -> list[Group]:
    """Return the groups of jobs of one scale that have a score, the best first."""
    groups: dict[tuple[tuple[str, str], ...], Group] = {}
    for job in jobs:
        differs = {key: value for key, value in job.differs.items() if key not in REPLICATES}
        group = groups.setdefault(tuple(differs.items()), Group(differs, [], {}))
        group.planned += 1
        outcome = outcomes[job.number]
        if outcome.status != "finished" or outcome.score is None or not math.isfinite(outcome.score):
            continue
        group.members.append(job)
        group.scores[replicate_of(job) or str(len(group.scores))] = outcome.score
    with_score = [group for group in groups.values() if group.scores]
    for group in with_score:
        values = list(group.scores.values())
        group.mean, std = mean_and_deviation(values)
        if len(values) > 1:
            group.std = std
            group.half = quantile(len(values) - 1) * group.std / math.sqrt(len(values))
    ranked = sorted(with_score, key=lambda group: group.mean, reverse=jobs[0].higher if jobs else True)
    for group in ranked[1:]:
        group.is_tied = _ties(ranked[0], group)
    return ranked


def replicate_of(job: SweepJob) -> str:
    """Return what a job's repetition of its setting differs in: `seed=0 dataset.fold=2`."""
    return " ".join(f"{key}={job.differs[key]}" for key in REPLICATES if key in job.differs)


def replicates_in(jobs: Iterable[SweepJob]) -> str:
    """Return what the repetitions of a setting differ in: seeds, folds, or runs where it is more than one of these."""
    keys = {key for job in jobs for key in job.differs if key in REPLICATES}
    return _PLURALS[keys.pop()] if len(keys) == 1 else "runs"


def what_differs(jobs: Sequence[SweepJob]) -> dict[tuple[str, str, bool], str]:
    """Return for each ranking the swept settings that no other one has (`dataset=mnist`), or ""."""
    values: dict[tuple[str, str, bool], dict[str, set[str]]] = {}
    for job in jobs:
        own = values.setdefault(job.order, {})
        for key, value in job.differs.items():
            if key != "checkpoint.monitor":  # the score's own name says it
                own.setdefault(key, set()).add(value)
    found = {}
    for order, own in values.items():
        others = [other for place, other in values.items() if place != order]
        apart = {key: some for key, some in own.items() if all(some.isdisjoint(other.get(key, ())) for other in others)}
        found[order] = " ".join(f"{key}={','.join(sorted(some))}" for key, some in apart.items()) if others else ""
    return found


def quantile(freedom: int) -> float:
    """Return the two-sided 95 % quantile of Student's t; beyond 30 degrees that of 30, which is slightly too wide."""
    return _T95[min(freedom, len(_T95)) - 1]


def _ties(best: Group, other: Group) -> bool:
    """Return True if the paired 95 % interval of the difference, over common repetitions, contains 0."""
    common = sorted(best.scores.keys() & other.scores.keys())
    gaps = [best.scores[seed] - other.scores[seed] for seed in common]
    if not gaps:
        return False
    if len(gaps) == 1 or len(set(gaps)) == 1:
        return gaps[0] == 0
    mean, std = mean_and_deviation(gaps)
    return abs(mean) <= quantile(len(gaps) - 1) * std / math.sqrt(len(gaps))
