"""Write the answers of a model of numbers, masks or images as a table or CSV; JSON is written as for classes."""

import csv
from typing import TextIO

from rich.table import Table

from expkit.core.escaping import csv_cell, csv_path
from expkit.core.terminal import Console
from expkit.inference.predict.answers import Answer
from expkit.inference.predict.writers import ANY_WIDTH, MOST_ROWS, Format, JsonLinesWriter, JsonWriter, Writer

_MOST_COLUMNS = 8  # of the table in a terminal; a CSV has all


class AnswerCsvWriter(Writer[Answer]):
    """path, then a column for each number, file or share."""

    def __init__(self, file: TextIO) -> None:
        super().__init__(file)
        self._rows = csv.writer(file, lineterminator="\n")
        self._begun = False

    def write(self, prediction: Answer) -> None:
        if not self._begun:
            self._begun = True
            self._rows.writerow(["path", *map(csv_cell, prediction.cells)])
        self._rows.writerow([csv_path(prediction.path), *map(csv_cell, prediction.cells.values())])


class AnswerTableWriter(Writer[Answer]):
    """The first rows."""

    def __init__(self, file: TextIO) -> None:
        super().__init__(file)
        self._rows: list[Answer] = []
        self._count = 0

    def write(self, prediction: Answer) -> None:
        self._count += 1
        if self._count <= MOST_ROWS:
            self._rows.append(prediction)

    def close(self) -> None:
        width = None if self.file.isatty() else ANY_WIDTH
        console = Console(file=self.file, highlight=False, markup=False, width=width)
        if self._rows:
            columns = list(self._rows[0].shown)[:_MOST_COLUMNS]
            table = Table("image", *columns, box=None, padding=(0, 2, 0, 0))
            for row in self._rows:
                table.add_row(row.path, *(row.shown.get(column, "") for column in columns))
            console.print(table)
            if (more := len(self._rows[0].shown) - len(columns)) > 0:
                console.print(f"and {more:,} more of each image; --format csv or jsonl lists all")
        if self._count > MOST_ROWS:
            console.print(f"and {self._count - MOST_ROWS:,} more; --format csv or jsonl lists all")


def answer_writer(form: Format, file: TextIO) -> Writer[Answer]:
    """Return the writer of a format."""
    if form == "table":
        return AnswerTableWriter(file)
    if form == "csv":
        return AnswerCsvWriter(file)
    return JsonWriter(file) if form == "json" else JsonLinesWriter(file)
