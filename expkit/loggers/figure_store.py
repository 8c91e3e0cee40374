"""exhibits.jsonl and pictures/: every figure of a run, kept so that a report or any backend can show it later."""

import io
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from expkit.loggers.figures import Figure, Histogram, Matrix, Picture
from expkit.loggers.line_file import LineFile, read_lines

LIST_NAME, PICTURES = "exhibits.jsonl", "pictures"
_KINDS = {kind.__name__.lower(): kind for kind in Figure.__subclasses__()} | {"matrix": Matrix}


class FigureStore:
    """Appends figures to exhibits.jsonl in a folder; a picture is a PNG in pictures/, other arrays lie in the line."""

    def __init__(self, folder: Path, first_step: int = 0) -> None:
        self.folder = folder
        self._file = LineFile(folder / LIST_NAME, _end_of(folder / LIST_NAME, first_step))

    @property
    def end(self) -> int:
        """Bytes of exhibits.jsonl with every figure so far."""
        return self._file.end

    def keep(self, figure: Figure) -> int:
        """Write a figure and return the offset of its line's end. Raises Held or OSError."""
        values: dict[str, Any] = {field.name: getattr(figure, field.name) for field in fields(figure)}
        if isinstance(figure, Picture):
            del values["pixels"]
            values["file"] = self._picture(figure)
        line = {"kind": type(figure).__name__.lower(), **{name: _plain(value) for name, value in values.items()}}
        self._file.write(json.dumps(line))
        return self.end

    def _picture(self, picture: Picture) -> str:
        """Write a PNG and return its path in the folder."""
        name = re.sub(r"[^\w.-]+", "-", picture.name)
        path = Path(PICTURES) / f"{name}_step_{picture.step:08}.png"
        (self.folder / PICTURES).mkdir(exist_ok=True)
        (self.folder / path).write_bytes(picture.png)
        return str(path)

    def cut(self, step: int) -> None:
        """Drop the figures of later steps, which are made again."""
        self._file.cut(_end_of(self.folder / LIST_NAME, step))

    def close(self) -> None:
        self._file.close()


def read_figures(folder: Path, start: int = 0) -> Iterator[tuple[Figure, int]]:
    """Yield (figure, offset of its line's end) of the whole lines of a run's exhibits.jsonl, from an offset on."""
    if not (folder / LIST_NAME).is_file():
        return
    for values, end in read_lines(folder / LIST_NAME, start):
        try:
            yield _figure(folder, values), end
        except Exception:  # a damaged line, or a picture that is gone: readers throw whatever they stumble over
            continue


def inside(folder: Path, name: str) -> Path:
    """Return the path of a run's file. Raises ValueError for a name that leads out of the run folder."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError(f"{name} leads out of the run folder")
    return path


def _figure(folder: Path, values: dict[str, Any]) -> Figure:
    kind = _KINDS[values.pop("kind")]
    if kind is Picture:
        with Image.open(inside(folder, values.pop("file")), formats=["PNG"]) as picture:
            values["pixels"] = np.asarray(picture.convert("RGB"))
    if kind is Histogram:
        values |= {name: np.asarray(values[name]) for name in ("edges", "counts")}
    return kind(**{name: restored(value) for name, value in values.items()})


def _end_of(path: Path, step: int) -> int:
    """Return where the lines of steps up to `step` end: they lie in the order in which they were made."""
    end = 0
    if path.is_file():
        for values, after in read_lines(path):
            if isinstance(values.get("step"), int) and values["step"] > step:
                break
            end = after
    return end


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.ndim < 2:
        return value.tolist()
    if isinstance(value, np.ndarray):
        file = io.BytesIO()
        np.save(file, value, allow_pickle=False)
        return {"array": b64encode(file.getvalue()).decode()}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def restored(value: Any) -> Any:
    """Return an array of a line of the list; all else as it is."""
    if isinstance(value, dict) and set(value) == {"array"}:
        return np.load(io.BytesIO(b64decode(value["array"])), allow_pickle=False)
    return value
