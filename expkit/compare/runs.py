"""Finds run folders, and makes one row of each: what differs in the configs, and the scores."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path

from expkit.report.read import RunFiles, flat, is_run, read_run, shown
from expkit.report.write import duration

Value = str | float | None
# What is shown, kept and named changes no result.
_NOT_SETTINGS = ("output_dir", "name", "logger", "watch", "checkpoint", "hydra")
_LOWER_IS_BETTER = ("loss", "seconds", "duration")


@dataclass
class Row:
    """One run. settings: config path -> text; scores: name -> number."""

    run: RunFiles
    settings: dict[str, str]
    scores: dict[str, float]
    epochs: str = ""
    seconds: float | None = None

    def value(self, column: str) -> Value:
        """Return what stands in a column, None where the run has nothing there."""
        if column in ("run", "status"):
            return self.run.name if column == "run" else self.run.status
        if column == "epochs done":
            return self.epochs
        if column == "seconds":
            return self.seconds
        return self.scores.get(column, self.settings.get(column))

    def text(self, column: str) -> str:
        """Return the column's value as a reader wants it."""
        value = self.value(column)
        if isinstance(value, float):
            return duration(value) if column == "seconds" else f"{value:.4f}" if math.isfinite(value) else str(value)
        return value or ""


@dataclass
class Comparison:
    """The rows; differing: config paths that are not the same in all; scores: names that any run has."""

    rows: list[Row]
    differing: list[str] = field(default_factory=list)
    scores: list[str] = field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        best = [name for name in self.scores if name.startswith("best ")]
        others = [name for name in self.scores if name not in best]
        return ["run", "status", *best, *self.differing, *others, "epochs done", "seconds"]

    def best(self, column: str) -> float | None:
        """Return the best value of a score's column, None where there is no score or nothing to choose from."""
        values = [row.scores[column] for row in self.rows if math.isfinite(row.scores.get(column, math.nan))]
        if column not in self.scores or len(values) < 2 or min(values) == max(values):
            return None
        return min(values) if is_lower_better(column) else max(values)


def is_lower_better(column: str) -> bool:
    return column.rpartition("/")[2] in _LOWER_IS_BETTER


def find_runs(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return (run folders, paths that hold none): each path is a run, a folder in which runs lie, or a pattern of them.

    Files, and folders within a run, are passed over: a shell's `outputs/**` names them too.
    """
    found: dict[Path, None] = {}
    empty = []
    for path in (one for given in paths for one in _expanded(given)):
        below = [path] if is_run(path) else sorted(_below(path, depth=4))
        found |= dict.fromkeys(below)
        if not below and not path.is_file():
            empty.append(path)
    runs = list({folder.resolve(): folder for folder in found}.values())
    return runs, [path for path in empty if not any(path.is_relative_to(run) for run in runs)]


def _expanded(path: Path) -> list[Path]:
    """Return what a pattern stands for that no shell has expanded."""
    if "*" not in str(path) or path.exists():
        return [path]
    return sorted(map(Path, glob(str(path), recursive=True))) or [path]


def _below(folder: Path, depth: int) -> list[Path]:
    """Return the runs below a folder; a run's own folders are not searched."""
    try:
        inside = [one for one in folder.iterdir() if one.is_dir() and not one.is_symlink()] if folder.is_dir() else []
    except OSError:  # a folder that may not be read
        return []
    runs = [one for one in inside if is_run(one)]
    deeper = [run for one in inside if one not in runs and depth for run in _below(one, depth - 1)]
    return runs + deeper


def compare(folders: Sequence[Path]) -> Comparison:
    """Read the runs and find what differs."""
    return among([_row(read_run(folder, points_only=True)) for folder in folders])


def among(rows: Sequence[Row]) -> Comparison:
    """Return the rows with what differs among them."""
    return Comparison(list(rows), _differing(rows), _score_names(rows))


def _row(run: RunFiles) -> Row:
    epochs = [point for point in run.points if point.get("kind") == "epoch"]
    settings = {path: shown(value) for path, value in flat(run.config).items()}
    done = run.result.get("epochs", len(epochs))
    seconds = run.result.get("seconds")
    row = Row(run, settings, _scores(run, epochs), f"{done}/{run.config.get('epochs', '?')}")
    row.seconds = float(seconds) if isinstance(seconds, int | float) else None
    return row


def _scores(run: RunFiles, epochs: Sequence[dict[str, object]]) -> dict[str, float]:
    """Return the last epoch's scores, and of each validation score the best of any epoch."""
    scores: dict[str, float] = {}
    for name in (name for name in (epochs[-1] if epochs else {}) if "/" in name):
        values = [float(value) for point in epochs if isinstance(value := point.get(name), int | float)]
        if name.startswith("val/") and (finite := [value for value in values if math.isfinite(value)]):
            scores[f"best {name}"] = min(finite) if is_lower_better(name) else max(finite)
        if values:
            scores[name] = values[-1]
    return scores


def _score_names(rows: Sequence[Row]) -> list[str]:
    names = dict.fromkeys(name for row in rows for name in row.scores)
    return sorted(names, key=lambda name: (not name.startswith("best val"), not name.startswith("val"), "loss" in name))


def _differing(rows: Sequence[Row]) -> list[str]:
    readable = [row for row in rows if row.settings]
    paths = dict.fromkeys(path for row in readable for path in row.settings)
    differs = [path for path in paths if len({row.settings.get(path) for row in readable}) > 1]
    return [path for path in differs if path.partition(".")[0] not in _NOT_SETTINGS]
