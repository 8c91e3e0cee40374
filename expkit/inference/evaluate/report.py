"""What an evaluation leaves behind: lines in the terminal, one CSV of all runs, and a folder for each with pictures."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from rich.table import Table

from expkit.core.escaping import csv_cell
from expkit.core.files import write_json, writing
from expkit.core.formatting import count_noun
from expkit.core.terminal import Console
from expkit.inference.evaluate.evaluate import Evaluation
from expkit.inference.evaluate.intervals import CONFIDENCE
from expkit.inference.evaluate.plots import draw_confusion, draw_mistakes
from expkit.inference.evaluate.scores import Scores

CSV_NAME = "evaluations.csv"
_MOST_CLASSES = 20  # rows of the table in the terminal; by_class.csv has all

Row = dict[str, Any]


def print_scores(console: Console, heading: Mapping[str, str], scores: Scores) -> None:
    """Print who was evaluated on what, the scores, and the classes with the lowest F1, or IoU, first."""
    for word, text in heading.items():
        console.print(f"{word:<9}{text}", soft_wrap=True, markup=False, highlight=False)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in scores.overall.items():
        table.add_row(name, _shown(value), str(scores.intervals.get(name, "")))
    console.print(table)
    if not scores.by_class:
        return
    classes = Table("class", box=None, padding=(0, 2, 0, 0))
    words = [one.name for one in fields(scores.by_class[0]) if one.name != "name"]
    for word in words:
        classes.add_column(word, justify="right")
    worst = sorted(scores.by_class, key=lambda one: (not one.count, one.main))
    for one in worst[:_MOST_CLASSES]:
        cells = [getattr(one, word) for word in words]
        classes.add_row(one.name, f"{one.count:,}", *(_shown(cell) for cell in cells[1:]))
    console.print(classes)
    if len(worst) > _MOST_CLASSES:
        console.print(
            f"and {count_noun(len(worst) - _MOST_CLASSES, 'more class', 'more classes')}; by_class.csv has all"
        )


def _shown(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def write_run(folder: Path, row: Row, evaluation: Evaluation, title: str) -> None:
    """Write scores.json, worst.png, by_class.csv if there are classes, and, with one label per image, the confusion."""
    folder.mkdir(parents=True, exist_ok=True)
    scores = evaluation.scores
    plain = {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}
    bad = {one.location: one.reason for one in evaluation.bad}
    intervals = {name: {"confidence": CONFIDENCE, **one._asdict()} for name, one in scores.intervals.items()}
    write_json(folder / "scores.json", plain | {"intervals": intervals, "bad_files": bad})
    if scores.by_class:
        write_csv(folder / "by_class.csv", [asdict(one) for one in scores.by_class])
    worst = evaluation.worst()
    what = {"masks": "truth and prediction", "images": "image and reconstruction"}.get(
        evaluation.form, "truth as prediction"
    )
    with writing(folder / "worst.png"):
        draw_mistakes(worst, f"{title}: the {len(worst)} worst mistakes, {what}").save(folder / "worst.png")
    if scores.confusion is not None:
        names = evaluation.data.class_names
        with writing(folder / "confusion.png"):
            draw_confusion(scores.confusion, names, f"{title}: true by predicted").save(folder / "confusion.png")
        rows = [{"true": name, **dict(zip(names, counts, strict=True))}
                for name, counts in zip(names, scores.confusion.tolist(), strict=True)]  # fmt: skip
        write_csv(folder / "confusion.csv", rows)


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write rows whose columns may differ; a number that is not one is an empty cell."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with writing(path), path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(map(csv_cell, columns))
        table.writerows([[_cell(row.get(column)) for column in columns] for row in rows])


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6f}"
    return csv_cell(value) if isinstance(value, str) else "" if value is None else value


def print_runs(console: Console, rows: Sequence[Row]) -> None:
    """Print several runs of classes under each other, the most accurate first."""
    table = _runs_table(("accuracy", "95 % from", "to", "f1_macro", "auc"))
    for row in sorted(rows, key=lambda row: -row["accuracy"]):
        words = ("accuracy", "accuracy_low", "accuracy_high", "f1_macro", "auc")
        table.add_row(row["run"], f"{row['images']:,}", *(_shown(row.get(word, math.nan)) for word in words))
    console.print(table)
    console.print(
        "from, to: 95 % confidence interval of the accuracy (Wilson; of several labels bootstrap over samples)"
    )


def print_task_runs(console: Console, rows: Sequence[Row], main: str, higher_is_better: bool) -> None:
    """Print several runs of one task under each other, the best first. main: its first score."""
    table, sign = _runs_table((main, "95 % from", "to")), -1 if higher_is_better else 1
    for row in sorted(rows, key=lambda row: (math.isnan(row[main]), sign * row[main])):
        values = (row.get(word, math.nan) for word in (main, f"{main}_low", f"{main}_high"))
        table.add_row(row["run"], f"{row['images']:,}", *map(_shown, values))
    console.print(table)
    console.print(f"from, to: 95 % confidence interval of {main} (bootstrap over samples)")


def _runs_table(headings: Sequence[str]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("run", overflow="fold")
    for heading in ("images", *headings):
        table.add_column(heading, justify="right")
    return table
