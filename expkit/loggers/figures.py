"""What a logger can be shown beside scalars: pictures, histograms, tables, curves, embeddings, text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from expkit.core.escaping import one_line, printable


@dataclass(frozen=True)
class Figure:
    """name: "group/what", e.g. "val/confusion_matrix"; epoch from 0, step: optimizer steps taken when it was made."""

    name: str
    epoch: int
    step: int


@dataclass(frozen=True)
class Picture(Figure):
    """pixels: (H, W, 3) uint8; caption: one line that says what is seen."""

    pixels: NDArray[np.uint8]
    caption: str = ""

    @cached_property
    def png(self) -> bytes:
        """The picture as a PNG file, packed once for all that keep or send it."""
        file = BytesIO()
        Image.fromarray(self.pixels).save(file, "PNG", compress_level=1)
        return file.getvalue()


@dataclass(frozen=True)
class Histogram(Figure):
    """edges: (B + 1,) ascending; counts: (B,)."""

    edges: NDArray[np.float64]
    counts: NDArray[np.float64]


@dataclass(frozen=True)
class Table(Figure):
    """columns: headings; rows: one value (text or number) for each."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Matrix(Table):
    """A table of counts: the first column is the true class, each other column a predicted one."""


@dataclass(frozen=True)
class Curves(Figure):
    """One plot of lines, e.g. precision over recall; lines: label -> (x values, y values)."""

    x_label: str
    y_label: str
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]


@dataclass(frozen=True)
class Embedding(Figure):
    """vectors: (N, D) float32; labels: N texts; images: (N, h, w, 3) uint8 or None."""

    vectors: NDArray[np.float32]
    labels: Sequence[str]
    images: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Text(Figure):
    """text: Markdown, e.g. the summary of a model."""

    text: str


@dataclass(frozen=True)
class Graph(Figure):
    """A model's graph: nodes as (name, operation, names of its inputs, output shape)."""

    nodes: Sequence[tuple[str, str, Sequence[str], Sequence[int]]] = field(default_factory=list)


def escaped(figure: Figure) -> Figure:
    """Return a figure whose texts (captions, labels, class names in cells) hold nothing that a display acts upon."""
    return replace(figure, **{name: _escaped(value) for name, value in vars(figure).items() if name != "png"})


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value) if "\n" in value else one_line(value)
    if isinstance(value, Mapping):
        return {_escaped(key): _escaped(one) for key, one in value.items()}
    return [_escaped(one) for one in value] if isinstance(value, list | tuple) else value


def markdown(table: Table) -> str:
    """Return a table in Markdown."""
    lines = [table.columns, ["---"] * len(table.columns), *table.rows]
    return "\n".join("| " + " | ".join(str(value).replace("|", "\\|") for value in line) + " |" for line in lines)
