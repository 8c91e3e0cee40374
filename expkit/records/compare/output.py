"""Print a comparison, and write it as CSV and as a page."""

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from rich.table import Table
from rich.text import Text

from expkit.core.escaping import csv_cell, one_line
from expkit.core.plots.svg import COLOURS, Line, line_chart
from expkit.core.terminal import Console
from expkit.records.compare.filter import text_of
from expkit.records.compare.table import Comparison
from expkit.records.report.curves import order_of, title_of
from expkit.records.report.template import drawn, render

MOST_OVERLAID = 24  # runs in one chart
_STYLES = {
    "finished": "green",
    "failed": "bold red",
    "broken": "bold red",
    "interrupted": "yellow",
    "running": "yellow",
}


def fitting(comparison: Comparison, width: int) -> list[str]:
    """Return the columns that fit into a terminal, chosen by importance, in the table's order."""
    best = [name for name in comparison.scores if name.startswith("best")]
    rest = [*best[1:], *(name for name in comparison.scores if name.startswith("last val/"))]
    kept, used = set[str](), 0
    first = [*("run", "status"), *best[:1], *["best epoch"] * bool(best)]
    for column in [*first, *comparison.differing, *rest, *comparison.columns]:
        needed = max(len(column), *(len(row.text(column)) for row in comparison.rows)) + 2
        if column not in kept and (used + needed <= width or column in ("run", "status")):
            kept.add(column)
            used += needed
    return [column for column in comparison.columns if column in kept]


def table_of(comparison: Comparison, columns: Sequence[str]) -> Table:
    """Return the table; the best values of scores are bold."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        is_text = column in ("run", "status") or column in comparison.differing
        table.add_column(Text(column), justify="left" if is_text else "right", overflow="fold")
    best = {column: comparison.marked(column) for column in columns}
    for place, row in enumerate(comparison.rows):
        cells = []
        for column in columns:
            is_best = best[column][place]
            style = _STYLES.get(row.run.status, "yellow") if column == "status" else "bold green" if is_best else ""
            cells.append(Text(row.text(column), style=style))
        table.add_row(*cells)
    return table


def _plain_lines(comparison: Comparison, columns: Sequence[str]) -> Iterator[str]:
    cells = [list(columns), *([row.text(column) for column in columns] for row in comparison.rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    left = [column in ("run", "status") or column in comparison.differing for column in columns]
    for line in cells:
        placed = zip(line, widths, left, strict=True)
        yield "  ".join(text.ljust(width) if is_left else text.rjust(width) for text, width, is_left in placed).rstrip()


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Print the table, and below it notes and problems of the runs."""
    columns = fitting(comparison, console.width)
    if console.is_terminal:
        console.print(table_of(comparison, columns))
    else:  # plain lines for another program: with a thousand runs, styles would take most of the time
        console.file.write("".join(f"{one_line(line)}\n" for line in _plain_lines(comparison, columns)))
    if left_out := [column for column in comparison.columns if column not in columns]:
        names = ", ".join(left_out[:6]) + ", …" * (len(left_out) > 6)
        console.print(Text(f"not shown for lack of room: {names}; the page has all", style="dim"), soft_wrap=True)
    for note in comparison.notes:
        console.print(Text(note, style="yellow"), soft_wrap=True)
    for row in comparison.rows:
        if limit := row.settings.get("limit_eval_batches", "").removeprefix("null"):
            shown = f"{row.run.name}: its val scores use limit_eval_batches={limit}"
            console.print(Text(shown, style="yellow"), soft_wrap=True)
        reasons = [str(row.run.record["reason"])] if row.run.record.get("reason") else []
        for problem in [*reasons, *row.run.problems]:
            console.print(Text(f"{row.run.name}: {problem}", style="yellow"), soft_wrap=True)


def write_csv(file: TextIO, comparison: Comparison) -> None:
    """Write every column with exact numbers."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(map(csv_cell, comparison.columns))
    for row in comparison.rows:
        writer.writerow([_exact(row.value(column)) for column in comparison.columns])


def _exact(value: Any) -> str:
    return "" if value is None else repr(value) if isinstance(value, float) else csv_cell(str(value))


def charts_of(comparison: Comparison) -> list[str]:
    """Return a chart of all runs for each score."""
    series = [row.run.series() for row in comparison.rows[:MOST_OVERLAID]]
    main, _ = order_of(list(dict.fromkeys(name for one in series for name in one)))
    charts = []
    for name in main:
        for part in ("val", "train", "steps"):
            lines = [
                Line(
                    row.run.name, [x for x, _ in pairs], [y for _, y in pairs],
                    colour=number % COLOURS, dashed=number >= COLOURS,
                )
                for number, (row, one) in enumerate(zip(comparison.rows, series, strict=False))
                if (pairs := one.get(name, {}).get(part)) and not (part == "steps" and "train" in one[name])
            ]  # fmt: skip
            if lines:
                title = title_of(name) + {"val": " (val)", "train": " (train)", "steps": ""}[part]
                charts.append(line_chart(title, lines, "step", legend=False))
    return charts


def page_of(comparison: Comparison, where: Path, more: Sequence[str] = ()) -> str:
    """Return the page. where: its folder, from which it links to the runs' reports; more: other charts."""
    rows = []
    best = {column: comparison.marked(column) for column in comparison.columns}
    for number, row in enumerate(comparison.rows):
        cells = []
        for column in comparison.columns:
            cells.append({
                "text": row.text(column), "value": _exact(row.value(column)), "column": column,
                "best": best[column][number],
                "number": column not in ("run", "status") and column not in comparison.differing,
            })  # fmt: skip
        report = row.run.path / "report.html"
        link = Path(os.path.relpath(report, where)).as_posix() if report.is_file() else ""
        rows.append({
            "cells": cells, "text": text_of(row), "colour": number % COLOURS, "dashed": number >= COLOURS, "link": link,
            "reason": row.run.record.get("reason", ""), "problems": row.run.problems,
            "status": row.run.status, "name": row.run.name, "overlaid": number < MOST_OVERLAID and bool(row.run.points),
        })  # fmt: skip
    left_out = len(rows) - MOST_OVERLAID
    note = f"The curves are those of the first {MOST_OVERLAID} runs." if left_out > 0 else ""
    charts = [drawn(svg) for svg in [*more, *charts_of(comparison)]]
    return render("compare.html", rows=rows, columns=comparison.columns, charts=charts, note=note)
