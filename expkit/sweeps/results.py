"""The results of the jobs: read from their run folders, written as CSV, JSON and recipes."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from expkit.core.escaping import csv_cell
from expkit.core.files import write_json, write_text
from expkit.records.epochs import best_of, monitored, numbers
from expkit.records.run_folder import RunFolder
from expkit.sweeps.groups import Ranking, rankings
from expkit.sweeps.job import Outcome, SweepJob
from expkit.sweeps.recipe import recipe


def take_result(outcome: Outcome, folder: Path, monitor: str, higher: bool) -> None:
    """Read a run's reason and scores into its outcome. monitor, higher: the score that says which epoch is best."""
    run = RunFolder(folder)
    result, outcome.folder = run.result, folder
    outcome.reason = str(run.record.get("reason", "")) or outcome.reason
    outcome.scores = numbers(result.get("scores"))
    outcome.epoch = epochs if isinstance(epochs := result.get("epochs"), int) else outcome.epoch
    best = best_of(run.epochs, result, monitor, higher)
    outcome.best_epoch = best.number if best else None
    outcome.best_scores = {key: value for key, value in best.scores.items() if key.startswith("val/")} if best else {}
    score = monitored(best.scores if best else outcome.scores, monitor)
    outcome.score = numbers(result).get("best_score", score)


def write_results(folder: Path, jobs: Sequence[SweepJob], outcomes: Mapping[int, Outcome]) -> None:
    """Write results.csv (a line a job), results.json (jobs and groups) and best.yaml (the best as an experiment).

    Of several rankings each has a file: best_1.yaml.
    """
    ranked = rankings(jobs, outcomes)
    write_text(folder / "results.csv", _as_csv(jobs, outcomes))
    write_json(folder / "results.json", _as_json(jobs, outcomes, ranked))
    for ranking in ranked:
        if ranking.groups:
            write_text(folder / ranking.recipe, recipe(ranking.groups[0], ranking.monitor))


def _as_csv(jobs: Sequence[SweepJob], outcomes: Mapping[int, Outcome]) -> str:
    of_best = sorted({name for outcome in outcomes.values() for name in outcome.best_scores})
    of_last = sorted({name for outcome in outcomes.values() for name in outcome.scores})
    keys = list(dict.fromkeys(key for job in jobs for key in job.differs))
    names = [*(f"best {name}" for name in of_best), *(f"last {name}" for name in of_last)]
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(
        ["job", *keys, "status", "monitor", "score", "best epoch", *names, "epochs", "seconds", "folder", "reason"]
    )
    for job in jobs:
        one = outcomes[job.number]
        found = ["" if one.score is None else one.score, one.best_epoch or ""]
        found += [one.best_scores.get(name, "") for name in of_best] + [one.scores.get(name, "") for name in of_last]
        ending = [one.epoch, round(one.seconds, 3), one.folder.name if one.folder else "", csv_cell(one.reason)]
        differs = [csv_cell(job.differs.get(key, "")) for key in keys]
        table.writerow([job.number, *differs, one.status, f"val/{job.monitor}", *found, *ending])
    return text.getvalue()


def _as_json(jobs: Sequence[SweepJob], outcomes: Mapping[int, Outcome], ranked: Sequence[Ranking]) -> dict[str, Any]:
    rows = []
    for job in jobs:
        one = outcomes[job.number]
        rows.append(
            {"job": job.number, "differs": job.differs, "config_sha256": job.digest, "status": one.status}
            | {"score": one.score, "best_epoch": one.best_epoch, "best_scores": dict(one.best_scores)}
            | {"scores": dict(one.scores), "epochs": one.epoch, "seconds": round(one.seconds, 3)}
            | {"folder": one.folder.name if one.folder else None, "reason": one.reason}
        )
    of_groups = [
        {"ranking": ranking.place, "monitor": f"val/{ranking.monitor}", "higher_is_better": ranking.higher}
        | {"differs": group.differs, "mean": group.mean, "seeds": len(group.scores), "planned": group.planned}
        | {"is_tied": group.is_tied, "scores": group.scores}
        | {name: None if math.isnan(value) else value for name, value in (("std", group.std), ("ci95", group.half))}
        | {"jobs": [job.number for job in group.members]}
        for ranking in ranked
        for group in ranking.groups
    ]
    one_ranking = {"monitor": f"val/{jobs[0].monitor}", "higher_is_better": jobs[0].higher} if len(ranked) == 1 else {}
    return one_ranking | {"rankings": len(ranked), "jobs": rows, "groups": of_groups}
