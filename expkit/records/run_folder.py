"""The reader of a run folder in any state: missing and damaged files are reported, the rest is read."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from expkit.config.yaml_safety import LOADER, load_vetted
from expkit.core.errors import ConfigError
from expkit.core.files import parse_object
from expkit.core.formatting import count_noun, is_number
from expkit.records.epochs import Epoch, epochs_in

LARGEST = 400_000_000  # bytes of one file of lines
LARGEST_FACTS = 20_000_000  # bytes of one file of facts
_TAIL = 20_000  # bytes searched for the last epoch of a running run
Json = Mapping[str, Any]


def _facts(name: str, needed: bool = True) -> "cached_property[Json]":
    return cached_property(lambda run: run._json(name, needed))


class RunFolder:
    """A run folder, each file read on first use; problems: a sentence on each damaged file.

    Untrusted records are read by `shared_record`, which refuses damaged ones.
    """

    record, code = _facts("record.json"), _facts("code.json", needed=False)
    result, data = _facts("result.json", needed=False), _facts("data.json", needed=False)
    environment = _facts("env.json")

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        self.problems: list[str] = []

    @property
    def status(self) -> str:
        """finished, failed, interrupted, running (or killed), or broken (the record cannot be read)."""
        return str(self.record.get("status", "broken"))

    @cached_property
    def config(self) -> Json:
        found = self._yaml("config.yaml", load_vetted)
        return found if isinstance(found, dict) else {}

    @cached_property
    def overrides(self) -> list[str]:
        found = self._yaml("overrides.yaml", _load_plain_list)
        return [str(one) for one in found] if isinstance(found, list) else []

    @cached_property
    def points(self) -> list[dict[str, Any]]:
        return [point for point in self._lines("metrics.jsonl") if _is_finite(point.get("step"))]

    @cached_property
    def epochs(self) -> list[Epoch]:
        """The epochs of the points, read without the steps."""
        return epochs_in(self._lines("metrics.jsonl", needed=False, mark=b'"kind": "epoch"'))

    def last_epoch(self) -> tuple[int, dict[str, Any]]:
        """Return (number of epochs done, values of the last one) of a running run."""
        try:
            with open(self.path / "metrics.jsonl", "rb") as file:
                file.seek(max(file.seek(0, 2) - _TAIL, 0))
                lines = file.read().splitlines()
        except OSError:
            return 0, {}
        for line in reversed(lines):
            point = parse_object(line)
            if point.get("kind") == "epoch" and isinstance(point.get("epoch"), int):
                return point["epoch"] + 1, point
        return 0, {}

    @cached_property
    def events(self) -> list[dict[str, Any]]:
        return self._lines("events.jsonl", needed=False)

    @cached_property
    def exhibits(self) -> list[dict[str, Any]]:
        found = self._lines("exhibits.jsonl", needed=False)
        return [one for one in found if isinstance(one.get("name"), str) and isinstance(one.get("kind"), str)]

    def series(self) -> dict[str, dict[str, list[tuple[float, float]]]]:
        """Return the curves: chart -> line ("steps", "train", "val", ...) -> (step, value) pairs."""
        found: dict[str, dict[str, list[tuple[float, float]]]] = {}
        for point in self.points:
            step = point["step"]
            for key, value in point.items():
                if key in ("kind", "epoch", "step") or not is_number(value):
                    continue
                line, slash, name = key.partition("/")
                if not slash:
                    line, name = ("steps" if point.get("kind") == "step" else "epochs"), key
                found.setdefault(name, {}).setdefault(line, []).append((step, float(value)))
        return found

    def sessions(self) -> list[float]:
        """Return the seconds of each session of the run, up to its last event."""
        found: list[list[float]] = []
        for event in self.events:
            try:
                when = datetime.fromisoformat(str(event.get("time"))).timestamp()
            except ValueError:  # the record may have been edited
                continue
            if event.get("event") in ("started", "resumed"):
                found.append([when])
            elif found:
                found[-1].append(when)
        return [times[-1] - times[0] for times in found]

    def _bytes(self, name: str, needed: bool, largest: int) -> bytes | None:
        path = self.path / name
        try:
            if path.stat().st_size > largest:
                self.problems.append(f"{name} is larger than {largest:,} bytes and is left out")
                return None
            return path.read_bytes()
        except FileNotFoundError:
            if needed:
                self.problems.append(f"{name} is missing")
        except OSError as error:
            self.problems.append(f"{name} cannot be read: {error.strerror}")
        return None

    def _json(self, name: str, needed: bool = True) -> dict[str, Any]:
        """Return the facts of a file, without those of a wrong type."""
        content = self._bytes(name, needed, LARGEST_FACTS)
        if content is None:
            return {}
        try:
            value = json.loads(content)
        except (ValueError, RecursionError) as error:
            self.problems.append(f"{name} is damaged: {error}")
            return {}
        if not isinstance(value, dict):
            self.problems.append(f"{name} is damaged: it holds no mapping")
            return {}
        kinds = _KINDS.get(name, {})
        value = {key: one for key, one in value.items() if one is not None or key not in kinds}
        wrong = [key for key, kind in kinds.items() if key in value and not kind(value[key])]
        self.problems += [f"{name} is damaged: `{key}` is left out" for key in wrong]
        return {key: one for key, one in value.items() if key not in wrong}

    def _yaml(self, name: str, load: Callable[[Path], Any]) -> Any:
        path = self.path / name
        if not path.is_file():
            self.problems.append(f"{name} is missing")
            return None
        try:
            return load(path)
        except (ConfigError, yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
            self.problems.append(f"{name} is damaged: {' '.join(str(error).split())}")
        except OSError as error:
            self.problems.append(f"{name} cannot be read: {error.strerror}")
        return None

    def _lines(self, name: str, needed: bool = True, mark: bytes = b"") -> list[dict[str, Any]]:
        """Return the objects of a JSON Lines file. mark: lines without it are skipped unread."""
        lines = (self._bytes(name, needed, LARGEST) or b"").splitlines()
        found = [parse_object(line) for line in lines if mark in line]
        whole = [one for one in found if one]
        if not mark and len(whole) < len(found):
            damaged = count_noun(len(found) - len(whole), "damaged line")
            self.problems.append(f"{name}: skipped {damaged}")
        return whole


def _is_finite(value: object) -> bool:
    return is_number(value) and abs(value) < 1e18  # type: ignore[arg-type]


def _is_mapping_of_numbers(value: object) -> bool:
    return isinstance(value, dict) and all(map(is_number, value.values()))


def _is_split(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("images", 0), int) and _is_finite(value.get("images", 0))


def _is(kind: type) -> Callable[[object], bool]:
    return lambda value: isinstance(value, kind)


_KINDS: dict[str, dict[str, Callable[[object], bool]]] = {
    "result.json": {
        "steps": _is_finite, "epochs": _is_finite, "seconds": _is_finite, "scores": _is_mapping_of_numbers,
        "monitor": _is(str), "best": _is(str), "directions": _is(dict),
    },
    "data.json": {
        "notes": _is(list), "class_names": _is(list), "changes": _is(list), "train": _is_split, "val": _is_split,
    },
    "env.json": {"packages": _is(dict)},
    "record.json": {"status": _is(str)},
}  # fmt: skip


def _load_plain_list(path: Path) -> Any:
    if path.stat().st_size > LARGEST_FACTS:
        raise ConfigError(f"it is larger than {LARGEST_FACTS:,} bytes")
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(path.read_bytes(), Loader=LOADER)):
        raise ConfigError("it holds an alias; a list of overrides needs none")
    return yaml.load(path.read_bytes(), Loader=LOADER)
