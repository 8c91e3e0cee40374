"""Reads a run folder, whatever state it is in: what is missing or damaged is named, and the rest is shown."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from expkit.config.yaml_safety import LOADER, load_vetted
from expkit.core.errors import ConfigError
from expkit.core.formatting import count_noun

LARGEST = 400_000_000  # bytes of one file of lines
LARGEST_FACTS = 20_000_000  # bytes of one file of facts
Json = Mapping[str, Any]


@dataclass
class RunFiles:
    """What the files of a run say. points, exhibits, events: the lines as they are; problems: one sentence each."""

    folder: Path
    record: Json = field(default_factory=dict)
    config: Json = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)
    result: Json = field(default_factory=dict)
    environment: Json = field(default_factory=dict)
    code: Json = field(default_factory=dict)
    data: Json = field(default_factory=dict)
    points: list[dict[str, Any]] = field(default_factory=list)
    exhibits: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def status(self) -> str:
        """finished, failed, interrupted; running: no end was written; broken: the record cannot be read."""
        return str(self.record.get("status", "broken"))

    def series(self) -> dict[str, dict[str, list[tuple[float, float]]]]:
        """Return the curves: chart name -> line name ("steps", "train", "val", ...) -> (step, value) pairs."""
        found: dict[str, dict[str, list[tuple[float, float]]]] = {}
        for point in self.points:
            step = point["step"]
            for key, value in point.items():
                if key in ("kind", "epoch", "step") or not _is_number(value):
                    continue
                line, slash, name = key.partition("/")
                if not slash:
                    line, name = ("steps" if point.get("kind") == "step" else "epochs"), key
                found.setdefault(name, {}).setdefault(line, []).append((step, float(value)))
        return found

    def sessions(self) -> list[float]:
        """Return how long each session of the run was, in seconds: one that was killed counts up to its last event."""
        found: list[list[float]] = []
        for event in self.events:
            try:
                when = datetime.fromisoformat(str(event.get("time"))).timestamp()
            except ValueError:  # a stranger's record may say anything
                continue
            if event.get("event") in ("started", "resumed"):
                found.append([when])
            elif found:
                found[-1].append(when)
        return [times[-1] - times[0] for times in found]


def is_run(folder: Path) -> bool:
    """Say whether a folder holds a run, in whatever state."""
    return any((folder / name).is_file() for name in ("record.json", "metrics.jsonl", "config.yaml"))


def read_run(folder: Path, points_only: bool = False) -> RunFiles:
    """Return what a run folder holds. points_only: record, config, result, data and points."""
    run = RunFiles(folder)
    run.data = _json(run, "data.json", needed=False)
    run.record, run.result = _json(run, "record.json"), _json(run, "result.json", needed=False)
    config = _yaml(run, "config.yaml", load_vetted)
    run.config = config if isinstance(config, dict) else {}
    run.points = [point for point in _lines(run, "metrics.jsonl") if _is_number(point.get("step"))]
    if not points_only:
        run.events = [*_lines(run, "events.jsonl", needed=False)]
        run.environment, run.code = _json(run, "env.json"), _json(run, "code.json", needed=False)
        overrides = _yaml(run, "overrides.yaml", _list_of_words)
        run.overrides = [str(one) for one in overrides] if isinstance(overrides, list) else []
        exhibits = _lines(run, "exhibits.jsonl", needed=False)
        run.exhibits = [
            one for one in exhibits if isinstance(one.get("name"), str) and isinstance(one.get("kind"), str)
        ]
    return run


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _bytes(run: RunFiles, name: str, needed: bool, largest: int) -> bytes | None:
    path = run.folder / name
    try:
        if path.stat().st_size > largest:
            run.problems.append(f"{name} is larger than {largest:,} bytes and is left out")
            return None
        return path.read_bytes()
    except FileNotFoundError:
        if needed:
            run.problems.append(f"{name} is missing")
    except OSError as error:
        run.problems.append(f"{name} cannot be read: {error.strerror}")
    return None


def _json(run: RunFiles, name: str, needed: bool = True) -> dict[str, Any]:
    content = _bytes(run, name, needed, LARGEST_FACTS)
    if content is None:
        return {}
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        run.problems.append(f"{name} is damaged: {error}")
        return {}
    if isinstance(value, dict):
        return _of_known_kinds(run, name, value)
    run.problems.append(f"{name} is damaged: it holds no mapping")
    return {}


def _of_known_kinds(run: RunFiles, name: str, value: dict[str, Any]) -> dict[str, Any]:
    """Return the facts without those that are not of the kind which a run writes, each told of."""
    wrong = [key for key, kind in _KINDS.get(name, {}).items() if value.get(key) is not None and not kind(value[key])]
    run.problems += [f"{name} is damaged: `{key}` is left out" for key in wrong]
    return {key: one for key, one in value.items() if key not in wrong}


def _is_finite(value: object) -> bool:
    return _is_number(value) and abs(value) < 1e18  # type: ignore[arg-type]


def _is_mapping_of_numbers(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_number, value.values()))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


_KINDS: dict[str, dict[str, Callable[[object], bool]]] = {
    "result.json": {
        "steps": _is_finite, "epochs": _is_finite, "seconds": _is_finite, "scores": _is_mapping_of_numbers,
        "monitor": _is_text, "best": _is_text,
    },
    "data.json": {"notes": lambda value: isinstance(value, list)},
    "record.json": {"status": _is_text},
}  # fmt: skip


def _list_of_words(path: Path) -> Any:
    if path.stat().st_size > LARGEST_FACTS:
        raise ConfigError(f"it is larger than {LARGEST_FACTS:,} bytes")
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(path.read_bytes(), Loader=LOADER)):
        raise ConfigError("it holds an alias; a list of overrides needs none")
    return yaml.load(path.read_bytes(), Loader=LOADER)


def _yaml(run: RunFiles, name: str, load: Callable[[Path], Any]) -> Any:
    path = run.folder / name
    if not path.is_file():
        run.problems.append(f"{name} is missing")
        return None
    try:
        return load(path)
    except (ConfigError, yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        run.problems.append(f"{name} is damaged: {' '.join(str(error).split())}")
    except OSError as error:
        run.problems.append(f"{name} cannot be read: {error.strerror}")
    return None


def _lines(run: RunFiles, name: str, needed: bool = True) -> list[dict[str, Any]]:
    content, found, damaged = _bytes(run, name, needed, LARGEST), [], 0
    for line in (content or b"").splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            damaged += 1
            continue
        if isinstance(value, dict):
            found.append(value)
        else:
            damaged += 1
    if damaged:
        run.problems.append(f"{name}: {count_noun(damaged, 'damaged line')} passed over")
    return found


def flat(node: object, path: str = "") -> dict[str, Any]:
    """Return a config as path -> value, e.g. optimizer.lr -> 0.1; a list is one value."""
    if not isinstance(node, Mapping) or not node:
        return {path: node} if path else {}
    return {
        key: value for name, child in node.items() for key, value in flat(child, f"{path}.{name}".strip(".")).items()
    }


def shown(value: object) -> str:
    """Return a value as a reader wants it: numbers short, null and lists as in YAML."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else str(value)
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
