"""Several runs, one after the other, into one CSV."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from expkit.core.errors import ConfigError
from expkit.core.formatting import count_noun, relative
from expkit.core.run_folder import make_run_folder
from expkit.core.terminal import Console
from expkit.data.dataset import ImageDataset
from expkit.inference import Trained, load_trained, run_folders
from expkit.inference.evaluate.dataset import dataset_node, for_model, split_of
from expkit.inference.evaluate.evaluate import Evaluation, Speed, evaluate
from expkit.inference.evaluate.report import (
    CSV_NAME,
    Row,
    print_runs,
    print_scores,
    print_task_runs,
    write_csv,
    write_run,
)
from expkit.tasks.task import Task

_TOP_K = 5


def evaluate_all(words: Sequence[str], overrides: Sequence[str], given: argparse.Namespace) -> int:
    """Evaluate every run that the words stand for; returns how many images could not be read. Raises ConfigError."""
    console = Console(highlight=False)
    places = list(dict.fromkeys(place for word in words for place in run_folders(Path(word))))
    speed = Speed(given.batch_size, given.workers, given.views)
    loaded: dict[str, ImageDataset] = {}
    rows: list[Row] = []
    groups: dict[str, _Group] = {}
    bad = 0
    folder: Path | None = None
    for place in places:
        trained = load_trained(place, given.checkpoint, given.device, given.precision)
        _refuse_options(trained, given)
        node = dataset_node(trained.config.get("dataset"), overrides)
        notes: list[str] = []
        data = loaded.get(str(node)) or loaded.setdefault(str(node), split_of(node, given.split, notes))
        for note in notes:
            console.print(note, style="yellow" if note.startswith("warning") else "", soft_wrap=True, markup=False)
        evaluation = evaluate(trained, for_model(data, trained), speed, given.top_k or _TOP_K)
        folder = folder or _folder(given.output)  # not before something was evaluated
        rows.append(_row(place, trained, node, given, evaluation))
        groups.setdefault(trained.task.kind, _Group(trained.task)).rows.append(rows[-1])
        write_run(folder / _unique(rows), rows[-1], evaluation, rows[-1]["run"])
        _print(console, place, trained, node, given.split, evaluation)
        bad += len(evaluation.bad)
    assert folder is not None
    write_csv(folder / CSV_NAME, rows)
    if len(rows) > 1:
        _print_groups(console, groups)
    console.print(f"written  {relative(folder)} ({CSV_NAME}, pictures)", soft_wrap=True)
    return bad


@dataclass(frozen=True)
class _Group:
    """Runs of one kind of task."""

    task: Task
    rows: list[Row] = field(default_factory=list)


def _print_groups(console: Console, groups: Mapping[str, _Group]) -> None:
    if of_classes := [row for group in groups.values() if group.task.form == "classes" for row in group.rows]:
        print_runs(console, of_classes)
    for group in groups.values():
        if group.task.form != "classes":
            first = group.task.metrics()[0]
            main = next(name for name in group.rows[0] if name == first.name or name.startswith(f"{first.name}_"))
            print_task_runs(console, group.rows, main, first.higher_is_better is not False)


def _refuse_options(trained: Trained, given: argparse.Namespace) -> None:
    """Raise ConfigError for options that say nothing to the model's task."""
    trained.check_views(given.views)
    if given.top_k is not None and trained.task.form != "classes":
        raise ConfigError(
            f"--top-k: is for classes of images, and {trained.path} is for {trained.task.kind}; leave it out"
        )


def _folder(output: Path | None) -> Path:
    if output is None:
        return make_run_folder("outputs", "evaluation")
    output.mkdir(parents=True, exist_ok=True)
    return output


def _unique(rows: Sequence[Row]) -> str:
    """Return the last row's run as a folder's name that no row before it has."""
    name = rows[-1]["run"]
    count = sum(row["run"] == name for row in rows)
    return name if count == 1 else f"{name}_{count}"


def _row(
    place: Path, trained: Trained, node: dict[str, Any], given: argparse.Namespace, evaluation: Evaluation
) -> Row:  # fmt: skip
    about = {
        "run": place.stem if place.is_file() else place.resolve().name,
        "checkpoint": str(trained.path),
        "model": trained.config["model"]["name"],
        "dataset": node["name"],
        "split": given.split,
        "views": given.views,
        "images": len(evaluation.indices),
        "bad": len(evaluation.bad),
    }
    return about | evaluation.scores.row()


def _print(
    console: Console, place: Path, trained: Trained, node: dict[str, Any], split: str, evaluation: Evaluation
) -> None:
    for note in trained.notes:
        console.print(note, style="yellow", soft_wrap=True, markup=False)
    for one in evaluation.bad:
        console.print(f"bad file: {one.location}: {one.reason}", style="yellow", soft_wrap=True, markup=False)
    heading = {
        "run": f"{relative(place)} ({trained.path.stem})",
        "data": f"{node['name']}, {split}, {count_noun(len(evaluation.indices), 'image')}, {trained.counted}",
    }
    print_scores(console, heading, evaluation.scores)
