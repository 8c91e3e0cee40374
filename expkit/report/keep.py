"""Keeps what a run shows in its folder: pictures as PNG files, all else as lines of exhibits.jsonl."""

import json
import re
from pathlib import Path
from typing import Any

from expkit.loggers.base import Logger
from expkit.loggers.exhibits import Curves, Embedding, Exhibit, Graph, Histogram, Matrix, Picture, Table, Text

LIST_NAME, PICTURES = "exhibits.jsonl", "pictures"
_DIGITS = 6  # of a number that is drawn


class ExhibitKeeper(Logger):
    """Writes each exhibit at once, one whole line each; a picture's or embedding's line names its file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def show(self, exhibit: Exhibit) -> None:
        line = {"kind": type(exhibit).__name__.lower(), "name": exhibit.name, "epoch": exhibit.epoch}
        line |= {"step": exhibit.step} | self._content(exhibit)
        with open(self.folder / LIST_NAME, "ab", buffering=0) as file:
            file.write((json.dumps(line, ensure_ascii=False) + "\n").encode())

    def _content(self, exhibit: Exhibit) -> dict[str, Any]:
        match exhibit:
            case Picture():
                return {"file": self._picture(exhibit), "caption": exhibit.caption}
            case Histogram():
                return {"edges": _rounded(exhibit.edges), "counts": _rounded(exhibit.counts)}
            case Matrix() | Table():
                return {"columns": list(exhibit.columns), "rows": [list(row) for row in exhibit.rows]}
            case Curves():
                lines = {label: [_rounded(x), _rounded(y)] for label, (x, y) in exhibit.lines.items()}
                return {"x_label": exhibit.x_label, "y_label": exhibit.y_label, "lines": lines}
            case Embedding():
                return {"file": self._vectors(exhibit), "labels": list(exhibit.labels)}
            case Graph():
                return {
                    "nodes": [[name, kind, list(inputs), list(shape)] for name, kind, inputs, shape in exhibit.nodes]
                }
            case Text():
                return {"text": exhibit.text}
            case _:
                return {}

    def _place(self, exhibit: Exhibit, ending: str) -> str:
        (self.folder / PICTURES).mkdir(exist_ok=True)
        name = re.sub(r"[^\w.-]+", "-", exhibit.name)
        return f"{PICTURES}/{name}_step_{exhibit.step:08}.{ending}"

    def _picture(self, exhibit: Picture) -> str:
        from PIL import Image

        place = self._place(exhibit, "png")
        Image.fromarray(exhibit.pixels).save(self.folder / place, compress_level=3)
        return place

    def _vectors(self, exhibit: Embedding) -> str:
        import numpy as np

        place = self._place(exhibit, "npy")
        np.save(self.folder / place, exhibit.vectors, allow_pickle=False)
        return place


def _rounded(values: Any) -> list[float]:
    return [float(f"{float(value):.{_DIGITS}g}") for value in values]
