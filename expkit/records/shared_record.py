"""Read an untrusted record, a folder, a .zip or a record.yaml, without executing anything in it."""

import hashlib
import io
import json
import lzma
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from expkit.config.config_safety import guard_job
from expkit.config.yaml_safety import parse_vetted
from expkit.core.errors import ConfigError
from expkit.core.files import parse_object
from expkit.records.digests import NAME, belongs, file_digest

LARGEST_TEXT = 4_000_000  # bytes of a record's small files
LARGEST = 500_000_000  # bytes of metrics.jsonl, and of a whole .zip
MOST_FILES = 20_000
MOST_POINTS = 2_000_000


class Files:
    """The files of a record in a folder, by names with /."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: list[str] = []

    def names(self) -> list[str]:
        """Return the names of all files that record.json may cover."""
        found = (
            (Path(place) / name).relative_to(self.folder).as_posix()
            for place, _, names in os.walk(self.folder) for name in names
        )  # fmt: skip
        return sorted(filter(belongs, found))

    def read(self, name: str, most: int = LARGEST_TEXT) -> bytes | None:
        """Return a file's bytes, None if it is missing. Raises ConfigError for more than `most` bytes."""
        path = self.folder / name
        if not path.is_file():
            return None
        with open(path, "rb") as file:
            return _capped(file.read(most + 1), name, most)

    def digest(self, name: str) -> str | None:
        """Return a file's sha256, None if it is missing."""
        path = self.folder / name
        return file_digest(path) if path.is_file() else None


# A damaged entry may name any compression method, each with its own errors (bzip2 raises OSError).
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, NotImplementedError, RuntimeError,
)  # fmt: skip


class ZippedFiles(Files):
    """The files of a .zip, read in memory; a common folder in it is removed from the names."""

    def __init__(self, path: Path) -> None:
        if path.stat().st_size > LARGEST:
            raise ConfigError(f"{path}: is larger than {LARGEST:,} bytes; a shared record is small")
        content = path.read_bytes()
        try:
            self.archive = zipfile.ZipFile(io.BytesIO(content))
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise ConfigError(f"{path}: is not a .zip that can be read ({error}); fetch it again") from error
        infos = self.archive.infolist()
        if len(infos) > MOST_FILES or sum(info.file_size for info in infos) > LARGEST:
            raise ConfigError(f"{path}: would unpack to more than {MOST_FILES:,} files or {LARGEST:,} bytes")
        inside = [info.filename for info in infos if info.filename.split("/")[-1] == NAME]
        prefix = min(inside, key=len, default="").removesuffix(NAME)
        self.infos = {info.filename.removeprefix(prefix): info for info in infos if not info.is_dir()}
        self.faults = _zip_faults(content, self.archive.comment, path.name)

    def names(self) -> list[str]:
        return sorted(filter(belongs, self.infos))

    def read(self, name: str, most: int = LARGEST_TEXT) -> bytes | None:
        if name not in self.infos:
            return None
        try:
            with self.archive.open(self.infos[name]) as file:
                return _capped(file.read(most + 1), name, most)
        except _DAMAGED as error:
            raise ConfigError(f"{name}: is damaged in the .zip ({error})") from error

    def digest(self, name: str) -> str | None:
        data = self.read(name, LARGEST)
        return None if data is None else hashlib.sha256(data).hexdigest()


def _zip_faults(content: bytes, comment: bytes, name: str) -> list[str]:
    """Return the faults of an exported .zip, whose comment is the sha256 of all bytes before it."""
    if len(comment) != 64:
        return []  # zipped by hand: its files are checked one by one
    changed = hashlib.sha256(content[:-64]).hexdigest().encode() != comment
    return [f"{name}: was changed: it does not match the digest at its end"] if changed else []


def _capped(data: bytes, name: str, most: int) -> bytes:
    if len(data) > most:
        raise ConfigError(f"{name}: is larger than {most:,} bytes; no record holds such a file")
    return data


_KINDS: dict[str, dict[str, Any]] = {
    "data": {"class_names": list, "changes": list, "train": dict, "val": dict},
    "environment": {"packages": dict, "device": str, "threads": int},
    "code": {"plugins": dict, "repositories": list},
}


@dataclass
class Shared:
    """A record as it was read. points: those of metrics.jsonl, in order; facts: of record.json."""

    place: Path
    config: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)
    code: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    result: dict[str, Any] = field(default_factory=dict)
    points: list[dict[str, Any]] = field(default_factory=list)
    data_files: bytes = b""

    def __post_init__(self) -> None:
        """Remove facts of a wrong type, which were damaged or edited."""
        for part, kinds in _KINDS.items():
            known = getattr(self, part)
            setattr(self, part, {key: one for key, one in known.items() if isinstance(one, kinds.get(key, object))})
        if not all(isinstance(name, str) for name in self.data.get("class_names", ())):
            del self.data["class_names"]

    @property
    def name(self) -> str:
        return str(self.facts.get("id", self.place.name))


def open_files(place: Path) -> Files:
    """Return the files of a record's folder or .zip. Raises ConfigError."""
    if place.is_dir():
        return Files(place)
    if not place.is_file():
        raise ConfigError(f"RECORD: there is no '{place}'; give a run folder, a .zip or a record.yaml")
    if place.suffix == ".zip":
        return ZippedFiles(place)
    raise ConfigError(f"RECORD: '{place}' is no run folder, .zip or .yaml file")


def read_record(place: Path) -> Shared:
    """Return a record as plain data. Raises ConfigError for anything else."""
    if place.is_file() and place.suffix in (".yaml", ".yml"):
        return _single_file(place)
    files = open_files(place)
    content = files.read("config.yaml")
    if content is None:
        raise ConfigError(f"RECORD: '{place}' holds no config.yaml; give a run folder, a .zip or a record.yaml")
    parts = {
        field_name: json_object(files.read(name), name)
        for field_name, name in (
            ("facts", NAME), ("code", "code.json"), ("environment", "env.json"),
            ("data", "data.json"), ("result", "result.json"),
        )
    }  # fmt: skip
    points = read_points(files.read("metrics.jsonl", LARGEST) or b"")
    listed = files.read("data_files.txt.gz", LARGEST // 10) or b""
    config = _yaml(content, "config.yaml")
    _refuse_references(config, "config.yaml")
    return Shared(place, config, points=points, data_files=listed, **parts)


def _single_file(place: Path) -> Shared:
    with open(place, "rb") as file:
        content = _capped(file.read(LARGEST_TEXT + 1), place.name, LARGEST_TEXT)
    found = _yaml(content, place.name)
    config = found.get("config")
    if not isinstance(config, dict):
        raise ConfigError(f"{place}: lacks `config:`, which holds the run's whole config")
    _refuse_references(config, place.name)
    expected = found.get("expectations", {})
    parts = {name: found.get(name, {}) for name in ("facts", "code", "environment", "data")}
    parts |= {"result": expected.get("result", {}) if isinstance(expected, dict) else None}
    for name, part in parts.items():
        if not isinstance(part, dict):
            raise ConfigError(f"{place}: {name}: expected a mapping")
    listed = expected.get("points")
    points = [point for point in listed if _is_point(point)] if isinstance(listed, list) else []
    return Shared(place, config, points=points, **parts)


def _yaml(content: bytes, name: str) -> dict[str, Any]:
    found = parse_vetted(content, name)
    if not isinstance(found, dict):
        raise ConfigError(f"{name}: holds no `key: value` lines")
    return found


def _refuse_references(config: Mapping[str, Any], name: str) -> None:
    """Raise ConfigError for code or references, which a resolved config does not have."""
    guard_job(config)
    if "${" in json.dumps(config, default=str):
        raise ConfigError(f"{name}: a record is resolved, and '${{…}}' is a reference; replace it by its value")


def json_object(content: bytes | None, name: str) -> dict[str, Any]:
    """Return the object in a JSON file, {} if there is no file. Raises ConfigError."""
    try:
        found = json.loads(content or b"{}")
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{name}: is not JSON ({str(error) or 'nested too deep'})") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{name}: holds no JSON object")
    return found


def read_points(content: bytes) -> list[dict[str, Any]]:
    """Return the points of a metrics.jsonl, without damaged lines, such as the last one of a killed run."""
    lines = content.splitlines()
    if len(lines) > MOST_POINTS:
        raise ConfigError(f"metrics.jsonl: holds more than {MOST_POINTS:,} points")
    return [point for line in lines if _is_point(point := parse_object(line))]


def _is_point(point: Any) -> bool:
    return isinstance(point, dict) and isinstance(point.get("step"), int) and isinstance(point.get("kind"), str)
