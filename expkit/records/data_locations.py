"""Paths of data on this machine, by fingerprint: records hold no such paths."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from expkit.config.diff import flatten
from expkit.config.redaction.redactor import ELSEWHERE
from expkit.core.files import read_json_object, write_json
from expkit.core.user_folders import cache_folder


def remember(config: Mapping[str, Any], shared: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """Save, outside the record, the paths of a config that its redacted form lacks."""
    original, path = flatten(config), _file(data)
    if lost := {key: str(original[key]) for key in missing(shared)}:
        with suppress(OSError):  # then the path must be given again
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, read_json_object(path) | lost)


def recall(data: Mapping[str, Any]) -> dict[str, str]:
    """Return config key -> path on this machine, for data with these facts."""
    return {str(key): str(path) for key, path in read_json_object(_file(data)).items()}


def missing(config: Mapping[str, Any]) -> list[str]:
    """Return the keys of a redacted config whose paths are missing."""
    return [key for key, value in flatten(config).items() if isinstance(value, str) and value.startswith(ELSEWHERE)]


def _file(data: Mapping[str, Any]) -> Path:
    fingerprints = [str(data.get(split, {}).get("fingerprint", ""))[:16] for split in ("train", "val")]
    safe = "-".join(one for one in fingerprints if one.isalnum())
    return cache_folder() / "places" / f"{safe}.json"
