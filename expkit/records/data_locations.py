"""Where data lie on this machine, by their fingerprint: records hold no path that means nothing elsewhere."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from expkit.config.redaction.redactor import ELSEWHERE
from expkit.core.files import write_bytes
from expkit.core.user_folders import cache_folder


def remember(config: Mapping[str, Any], shared: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """Note, outside the record, which paths of a config its portable form leaves out."""
    original, lost = dict(_leaves(config)), {}
    for key, value in _leaves(shared):
        if isinstance(value, str) and value.startswith(ELSEWHERE):
            lost[key] = str(original[key])
    if not lost:
        return
    path = _file(data)
    with suppress(OSError):  # then the place must be given again
        path.parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps(_read(data) | lost)
        write_bytes(path, content.encode())


def recall(data: Mapping[str, Any]) -> dict[str, str]:
    """Return config key -> path on this machine, for data of these facts."""
    return {str(key): str(path) for key, path in _read(data).items()}


def missing(config: Mapping[str, Any]) -> list[str]:
    """Return the keys of a config whose paths lay elsewhere on the machine that ran it."""
    return [key for key, value in _leaves(config) if isinstance(value, str) and value.startswith(ELSEWHERE)]


def _file(data: Mapping[str, Any]) -> Any:
    fingerprints = [str(data.get(split, {}).get("fingerprint", ""))[:16] for split in ("train", "val")]
    safe = "-".join(word for word in fingerprints if word.isalnum())
    return cache_folder() / "places" / f"{safe}.json"


def _read(data: Mapping[str, Any]) -> dict[str, Any]:
    try:
        found = json.loads(_file(data).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _leaves(node: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        below = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping):
            yield from _leaves(value, below)
        else:
            yield below, value
