"""What came of the jobs: read from their run folders, grouped over seeds, ranked, written as CSV, JSON and a recipe."""

import csv
import io
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from expkit.checkpoints import write_whole
from expkit.escaping import csv_cell
from expkit.sweeps.job import Outcome, SweepJob

# Two-sided 95 % quantiles of Student's t for 1, 2, ... degrees of freedom (NIST/SEMATECH e-Handbook, 1.3.6.7.2).
_T95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


# Overrides that say where and how rather than what: of this machine, or of one member of a group.
_NOT_A_RECIPE = (
    "hydra", "seed=", "~", "name=", "output_dir=", "logger", "device.", "dataset.root=", "dataset.val_root=",
    "dataset.cache", "dataset.num_workers=",
)  # fmt: skip


@dataclass
class Group:
    """Jobs that differ in nothing but their seed. mean, std, half: of their scores, half the width of the mean's 95 %
    confidence interval (nan for one job); is_tied: no worse than the best one as far as the seeds can tell.
    """

    differs: dict[str, str]
    members: list[SweepJob]
    scores: dict[str, float]  # by seed
    mean: float = math.nan
    std: float = math.nan
    half: float = math.nan
    is_tied: bool = False


def status_of(folder: Path) -> str:
    """Return the status in a run folder's record, "" where there is none."""
    return str(_read(folder / "record.json").get("status", ""))


def read_run(folder: Path, outcome: Outcome, monitor: str) -> None:
    """Take a run's reason and scores into its outcome."""
    record, result = _read(folder / "record.json"), _read(folder / "result.json")
    outcome.folder = folder
    outcome.reason = str(record.get("reason", "")) or outcome.reason
    outcome.scores = {name: float(value) for name, value in (result.get("scores") or {}).items()}
    outcome.epoch = int(result.get("epochs", outcome.epoch))
    best = result.get("best_score", monitored(outcome.scores, monitor))
    outcome.score = None if best is None else float(best)


def monitored(scores: Mapping[str, float], monitor: str) -> float | None:
    """Return the monitored one of scores; what a watcher measures has a name of its own."""
    return scores.get(f"val/{monitor}", scores.get(monitor))


def last_epoch(folder: Path) -> tuple[int, dict[str, float]]:
    """Return how many epochs a run has done, and the values of the last one, while it goes on."""
    try:
        with open(folder / "metrics.jsonl", "rb") as file:
            file.seek(max(file.seek(0, 2) - 20_000, 0))
            lines = file.read().splitlines()
    except OSError:
        return 0, {}
    for line in reversed(lines):
        try:
            point = json.loads(line)
        except ValueError:
            continue
        if isinstance(point, dict) and point.get("kind") == "epoch":
            return int(point["epoch"]) + 1, point
    return 0, {}


def grouped(jobs: Sequence[SweepJob], outcomes: Mapping[int, Outcome]) -> list[Group]:
    """Return the groups that have a score, the best first."""
    groups: dict[tuple[tuple[str, str], ...], Group] = {}
    for job in jobs:
        outcome = outcomes[job.number]
        if outcome.status != "finished" or outcome.score is None or math.isnan(outcome.score):
            continue
        differs = {key: value for key, value in job.differs.items() if key != "seed"}
        group = groups.setdefault(tuple(differs.items()), Group(differs, [], {}))
        group.members.append(job)
        group.scores[job.differs.get("seed", str(len(group.scores)))] = outcome.score
    for group in groups.values():
        values = list(group.scores.values())
        group.mean = statistics.fmean(values)
        if len(values) > 1:
            group.std = statistics.stdev(values)
            group.half = quantile(len(values) - 1) * group.std / math.sqrt(len(values))
    higher = jobs[0].higher if jobs else True
    ranked = sorted(groups.values(), key=lambda group: group.mean, reverse=higher)
    for group in ranked[1:]:
        group.is_tied = _ties(ranked[0], group)
    return ranked


def quantile(freedom: int) -> float:
    """Return the two-sided 95 % quantile of Student's t; beyond 30 degrees that of 30, which errs to the wide side."""
    return _T95[min(freedom, len(_T95)) - 1]


def _ties(best: Group, other: Group) -> bool:
    """Say whether the difference of two means may be none: the paired 95 % interval over common seeds holds 0."""
    common = sorted(best.scores.keys() & other.scores.keys())
    gaps = [best.scores[seed] - other.scores[seed] for seed in common]
    if not gaps:
        return False
    if len(gaps) == 1 or len(set(gaps)) == 1:
        return gaps[0] == 0
    return abs(statistics.fmean(gaps)) <= quantile(len(gaps) - 1) * statistics.stdev(gaps) / math.sqrt(len(gaps))


def write_results(folder: Path, jobs: Sequence[SweepJob], outcomes: Mapping[int, Outcome]) -> None:
    """Write results.csv (a line a job), results.json (jobs and groups) and best.yaml (the best as an experiment)."""
    groups = grouped(jobs, outcomes)
    names = sorted({name for outcome in outcomes.values() for name in outcome.scores})
    keys = list(dict.fromkeys(key for job in jobs for key in job.differs))
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["job", *keys, "status", "score", *names, "epochs", "seconds", "folder", "reason"])
    for job in jobs:
        one = outcomes[job.number]
        found = ["" if one.score is None else one.score, *(one.scores.get(name, "") for name in names)]
        ending = [one.epoch, round(one.seconds, 3), one.folder.name if one.folder else "", csv_cell(one.reason)]
        table.writerow([job.number, *(csv_cell(job.differs.get(key, "")) for key in keys), one.status, *found, *ending])
    _write(folder / "results.csv", text.getvalue())
    _write(folder / "results.json", json.dumps(_as_json(jobs, outcomes, groups), indent=1) + "\n")
    if groups:
        _write(folder / "best.yaml", recipe(groups[0], jobs[0].monitor))


def recipe(group: Group, monitor: str) -> str:
    """Return the overrides of a group as an experiment, ready for conf/experiment/; places and names are left out."""
    words = [word for word in group.members[0].overrides if not word.startswith(_NOT_A_RECIPE)]
    config = group.members[0].config
    defaults: list[str] = []
    tree: dict[str, Any] = {}
    for word in words:
        key, _, choice = word.lstrip("+").partition("=")
        if key == "experiment":
            defaults.insert(0, f"  - {choice}")
        elif isinstance(config.get(key), dict):
            defaults.append(f"  - override /{key}: {choice}")
        else:
            _set(tree, key.split("."), config)
    lines = ["# @package _global_"]  # Hydra looks for it in the first line
    lines.append(f"# val/{monitor} {group.mean:.4f} over {len(group.scores)} seed(s): {_words(group.differs)}")
    lines += ["defaults:", *defaults] if defaults else []
    return "\n".join(lines) + "\n" + (yaml.safe_dump(tree, sort_keys=False) if tree else "")


def _set(tree: dict[str, Any], path: list[str], config: Any) -> None:
    """Copy the value at a path of a config into a tree, if there is one."""
    for name in path:
        if not isinstance(config, dict) or name not in config:
            return
        config = config[name]
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = config


def _words(differs: Mapping[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in differs.items()) or "the only one"


def _as_json(jobs: Sequence[SweepJob], outcomes: Mapping[int, Outcome], groups: Sequence[Group]) -> dict[str, Any]:
    rows = []
    for job in jobs:
        one = outcomes[job.number]
        rows.append(
            {"job": job.number, "differs": job.differs, "config_sha256": job.digest, "status": one.status}
            | {"score": one.score, "scores": dict(one.scores), "epochs": one.epoch, "seconds": round(one.seconds, 3)}
            | {"folder": one.folder.name if one.folder else None, "reason": one.reason}
        )
    of_groups = [
        {"differs": group.differs, "mean": group.mean, "seeds": len(group.scores), "is_tied": group.is_tied}
        | {name: None if math.isnan(value) else value for name, value in (("std", group.std), ("ci95", group.half))}
        | {"jobs": [job.number for job in group.members]}
        for group in groups
    ]
    monitor = {"monitor": f"val/{jobs[0].monitor}", "higher_is_better": jobs[0].higher} if jobs else {}
    return monitor | {"jobs": rows, "groups": of_groups}


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, text: str) -> None:
    write_whole(path, lambda file: file.write(text.encode()))
