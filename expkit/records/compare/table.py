"""The table of a comparison: a row for each run, with differing settings and scores."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from expkit.config.diff import affects, flatten
from expkit.core.formatting import duration, value_text
from expkit.records.epochs import Epoch, best_of, directions_in, monitor_of
from expkit.records.run_folder import RunFolder
from expkit.tasks.metrics import higher_is_better

Value = str | float | None


@dataclass
class Row:
    """One run. settings: config path -> text; scores: column -> number, of the best checkpoint's epoch and of the last.

    best_by: the score that decides which epoch is best; measured_on: identifies the evaluated images; loss: its config.
    """

    run: RunFolder
    settings: dict[str, str]
    scores: dict[str, float]
    epochs: str = ""
    best_epoch: int | None = None
    best_by: str = ""
    measured_on: str = ""
    loss: str = ""
    seconds: float | None = None

    def scale(self, column: str) -> str:
        """Return what must be equal in two runs to compare this column's scores."""
        return self.measured_on + (self.loss if column.endswith("/loss") else "")

    def value(self, column: str) -> Value:
        """Return the value in a column, None if the run has none."""
        if column in ("run", "status"):
            return self.run.name if column == "run" else self.run.status
        if column == "epochs done":
            return self.epochs
        if column == "best epoch":
            return str(self.best_epoch) if self.best_epoch else None
        if column == "best by":
            return self.best_by
        if column == "seconds":
            return self.seconds
        return self.scores.get(column, self.settings.get(column))

    def text(self, column: str) -> str:
        """Return the value in a column as text."""
        value = self.value(column)
        if isinstance(value, float):
            return duration(value) if column == "seconds" else f"{value:.4f}" if math.isfinite(value) else str(value)
        return value or ""


@dataclass
class Comparison:
    """The rows; differing: config paths that differ among them; scores: columns of scores."""

    rows: list[Row]
    differing: list[str] = field(default_factory=list)
    scores: list[str] = field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        best = [name for name in self.scores if name.startswith("best ")]
        others = [name for name in self.scores if name not in best]
        by = ["best by"] * (len({row.best_by for row in self.rows if row.best_by}) > 1)
        of_best = ["best epoch", *by] * bool(best)
        return ["run", "status", *best[:1], *of_best, *best[1:], *self.differing, *others, "epochs done", "seconds"]

    def higher_is_better(self, column: str) -> bool:
        """Return True for a score's column in which more is better."""
        told = {name: higher for row in self.rows for name, higher in directions_in(row.run.result).items()}
        return higher_is_better(column, told)

    def bests(self, column: str) -> dict[str, float]:
        """Return scale -> the best value of a score's column, for scales with different values."""
        found: dict[str, list[float]] = {}
        for row in self.rows if column in self.scores else ():
            if math.isfinite(value := row.scores.get(column, math.nan)):
                found.setdefault(row.scale(column), []).append(value)
        pick = max if self.higher_is_better(column) else min
        return {scale: pick(values) for scale, values in found.items() if min(values) < max(values)}

    def marked(self, column: str) -> list[bool]:
        """Return for each row whether its value is the best of its scale."""
        bests = self.bests(column)
        return [column in row.scores and bests.get(row.scale(column)) == row.scores[column] for row in self.rows]

    @property
    def notes(self) -> list[str]:
        """Warnings on comparing the scores."""
        count = len({row.measured_on for row in self.rows if row.scores})
        if count < 2:
            return []
        return [f"these runs were evaluated on {count} different sets of images: scores compare within a set only"]


def compare(folders: Sequence[Path]) -> Comparison:
    """Read the runs and find what differs."""
    return among([_row(RunFolder(folder)) for folder in folders])


def among(rows: Sequence[Row]) -> Comparison:
    """Return the rows with what differs among them."""
    return Comparison(list(rows), _differing(rows), _score_names(rows))


def _row(run: RunFolder) -> Row:
    epochs = run.epochs
    settings = {path: value_text(value) for path, value in flatten(run.config).items()}
    done = run.result.get("epochs", len(epochs))
    seconds = run.result.get("seconds")
    monitor, higher = monitor_of(run.result, run.config, epochs)
    best = best_of(epochs, run.result, monitor, higher)
    row = Row(run, settings, _scores(best, epochs), f"{done}/{run.config.get('epochs', '?')}")
    if best:
        row.best_epoch, row.best_by = best.number, f"val/{monitor}"
    row.measured_on, row.loss = _measured_on(run), json.dumps(run.config.get("loss"), default=str)
    row.seconds = float(seconds) if isinstance(seconds, int | float) else None
    return row


def _scores(best: Epoch | None, epochs: Sequence[Epoch]) -> dict[str, float]:
    """Return the validation scores of the best checkpoint's epoch, and all scores of the last."""
    scores = {f"last {name}": value for name, value in (epochs[-1].scores if epochs else {}).items()}
    kept = best.scores if best else {}
    return scores | {f"best {name}": value for name, value in kept.items() if name.startswith("val/")}


def _measured_on(run: RunFolder) -> str:
    """Return an identifier of the validation images, which is equal for all folds of a data set."""
    dataset, val = run.config.get("dataset"), run.data.get("val")
    fingerprint = str(val.get("fingerprint", "")) if isinstance(val, Mapping) else ""
    if isinstance(dataset, Mapping) and dataset.get("fold") is not None:
        fingerprint = f"{dataset.get('folds')}-fold split of {dataset.get('name')} {dataset.get('root')}"
    if limit := run.config.get("limit_eval_batches"):
        fingerprint += f" {limit} x {run.config.get('eval_batch_size') or run.config.get('batch_size')}"
    return fingerprint


def _score_names(rows: Sequence[Row]) -> list[str]:
    names = dict.fromkeys(name for row in rows for name in row.scores)
    return sorted(names, key=lambda name: (name.startswith("last"), " val/" not in name, "loss" in name))


def _differing(rows: Sequence[Row]) -> list[str]:
    readable = [row for row in rows if row.settings]
    paths = dict.fromkeys(path for row in readable for path in row.settings)
    differs = [path for path in paths if len({row.settings.get(path) for row in readable}) > 1]
    configs = [row.run.config for row in readable]
    return [path for path in differs if affects(path, *configs).what != "output"]
