"""events.jsonl and exhibits/: every exhibit of a run, kept so that any backend can be shown it later."""

import io
import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from expkit.loggers import exhibits
from expkit.loggers.exhibits import Exhibit, Picture
from expkit.loggers.lines import LineFile

EVENTS = "events.jsonl"


class ExhibitStore:
    """Appends exhibits to events.jsonl in a folder; a picture is a PNG in exhibits/, other arrays lie in the line."""

    def __init__(self, folder: Path, first_step: int = 0) -> None:
        self.folder = folder
        _forget(folder / EVENTS, first_step)
        self._file = LineFile(folder / EVENTS)

    @property
    def end(self) -> int:
        """Bytes of events.jsonl with every exhibit so far."""
        return self._file.end

    def keep(self, exhibit: Exhibit) -> int:
        """Write an exhibit and return the offset of its line's end. Raises Held or OSError."""
        values: dict[str, Any] = {field.name: getattr(exhibit, field.name) for field in fields(exhibit)}
        if isinstance(exhibit, Picture):
            values["pixels"] = self._picture(exhibit)
        line = {"exhibit": type(exhibit).__name__, **{name: _plain(value) for name, value in values.items()}}
        self._file.write(json.dumps(line))
        return self.end

    def _picture(self, picture: Picture) -> str:
        """Write a PNG and return its path in the folder."""
        path = Path("exhibits") / f"{picture.name.replace('/', '-')}-{picture.step:07}.png"
        (self.folder / "exhibits").mkdir(exist_ok=True)
        Image.fromarray(picture.pixels).save(self.folder / path, compress_level=1)
        return str(path)

    def close(self) -> None:
        self._file.close()


def read_exhibits(folder: Path, start: int = 0) -> Iterator[tuple[Exhibit, int]]:
    """Yield (exhibit, offset of its line's end) of the whole lines of a run folder's events from an offset on."""
    if not (folder / EVENTS).is_file():
        return
    with open(folder / EVENTS, "rb") as file:
        file.seek(start)
        for line in file:
            if not line.endswith(b"\n"):
                return
            start += len(line)
            values = json.loads(line)
            if (kind := values.pop("exhibit")) == "Picture":
                values["pixels"] = np.asarray(Image.open(folder / values["pixels"]).convert("RGB"))
            yield getattr(exhibits, kind)(**{name: _restored(value) for name, value in values.items()}), start


def _forget(events: Path, first_step: int) -> None:
    """Drop the exhibits of steps that are made again."""
    if events.is_file():
        lines = [line for line in events.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        events.write_bytes(b"".join(line for line in lines if json.loads(line)["step"] <= first_step))


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        file = io.BytesIO()
        np.save(file, value, allow_pickle=False)
        return {"array": b64encode(file.getvalue()).decode()}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _restored(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"array"}:
        return np.load(io.BytesIO(b64decode(value["array"])), allow_pickle=False)
    return value
