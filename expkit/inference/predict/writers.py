"""Write predictions as a table, CSV, JSON or JSON lines; all but the table are streamed."""

import csv
import json
from collections import Counter
from typing import Generic, Literal, Protocol, TextIO, TypeVar

from rich.table import Table

from expkit.core.escaping import csv_cell, csv_path
from expkit.core.terminal import Console
from expkit.inference.predict.prediction import Prediction

Format = Literal["table", "csv", "json", "jsonl"]

MOST_ROWS = 100  # of the table in a terminal
ANY_WIDTH = 10_000  # columns of a file or pipe: paths are not cut


P = TypeVar("P", contravariant=True)  # a prediction


class Told(Protocol):
    """A prediction of any task."""

    def as_json(self) -> dict[str, object]: ...


class Writer(Generic[P]):
    """Writes predictions to an open text file."""

    def __init__(self, file: TextIO) -> None:
        self.file = file

    def write(self, prediction: P) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Write the end of the file."""


class CsvWriter(Writer[Prediction]):
    """path, class, probability, then the next most probable; several labels are in one cell, separated by `|`."""

    def __init__(self, file: TextIO, top: int) -> None:
        super().__init__(file)
        self._rows = csv.writer(file, lineterminator="\n")
        self._more = [name for place in range(2, top + 1) for name in (f"class_{place}", f"probability_{place}")]
        self._begun = False

    def write(self, prediction: Prediction) -> None:
        (first, probability), *others = prediction.top
        labels = [csv_cell("|".join(prediction.classes))] if prediction.several else []
        if not self._begun:
            self._begun = True
            self._rows.writerow(["path", *(["classes"] if labels else []), "class", "probability", *self._more])
        more = [cell for name, value in others for cell in (csv_cell(name), f"{value:.6f}")]
        self._rows.writerow([csv_path(prediction.path), *labels, csv_cell(first), f"{probability:.6f}", *more])


class JsonLinesWriter(Writer[Told]):
    """One object a line."""

    def write(self, prediction: Told) -> None:
        self.file.write(json.dumps(prediction.as_json(), ensure_ascii=False) + "\n")


class JsonWriter(Writer[Told]):
    """One list of objects."""

    _begun = False

    def write(self, prediction: Told) -> None:
        self.file.write(",\n " if self._begun else "[\n ")
        self._begun = True
        self.file.write(json.dumps(prediction.as_json(), ensure_ascii=False))

    def close(self) -> None:
        self.file.write("\n]\n" if self._begun else "[]\n")


class TableWriter(Writer[Prediction]):
    """The first rows, and the number of images of each class."""

    def __init__(self, file: TextIO) -> None:
        super().__init__(file)
        self._table = Table("image", "class", "probability", "then", box=None, padding=(0, 2, 0, 0))
        self._count = 0
        self._classes: Counter[str] = Counter()

    def write(self, prediction: Prediction) -> None:
        self._count += 1
        self._classes.update(prediction.classes or ["(none)"])
        if self._count <= MOST_ROWS:
            then = ", ".join(f"{name} {value:.3f}" for name, value in prediction.top[1:])
            self._table.add_row(prediction.path, prediction.label, f"{prediction.top[0][1]:.3f}", then)

    def close(self) -> None:
        width = None if self.file.isatty() else ANY_WIDTH
        console = Console(file=self.file, highlight=False, markup=False, width=width)
        if self._count:
            console.print(self._table)
        if self._count > MOST_ROWS:
            console.print(f"and {self._count - MOST_ROWS:,} more; --format csv or jsonl lists all")
        if self._count > 1:
            classes = ", ".join(f"{name} {count:,}" for name, count in self._classes.most_common(20))
            console.print(f"classes: {classes}", soft_wrap=True)


def class_writer(form: Format, file: TextIO, top: int) -> Writer[Prediction]:
    """Return the writer of a format. top: classes that it names of each image."""
    if form == "table":
        return TableWriter(file)
    if form == "csv":
        return CsvWriter(file, top)
    return JsonWriter(file) if form == "json" else JsonLinesWriter(file)
