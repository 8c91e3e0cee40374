"""Where data lie on this machine, by their fingerprint: records hold no path that means nothing elsewhere."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from expkit.config.diff import flatten
from expkit.config.redaction.redactor import ELSEWHERE
from expkit.core.files import read_json_object, write_bytes
from expkit.core.user_folders import cache_folder


def remember(config: Mapping[str, Any], shared: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """Note, outside the record, which paths of a config its portable form leaves out."""
    original, lost = flatten(config), {}
    for key, value in flatten(shared).items():
        if isinstance(value, str) and value.startswith(ELSEWHERE):
            lost[key] = str(original[key])
    if not lost:
        return
    path = _file(data)
    with suppress(OSError):  # then the place must be given again
        path.parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps(read_json_object(_file(data)) | lost)
        write_bytes(path, content.encode())


def recall(data: Mapping[str, Any]) -> dict[str, str]:
    """Return config key -> path on this machine, for data of these facts."""
    return {str(key): str(path) for key, path in read_json_object(_file(data)).items()}


def missing(config: Mapping[str, Any]) -> list[str]:
    """Return the keys of a config whose paths lay elsewhere on the machine that ran it."""
    return [key for key, value in flatten(config).items() if isinstance(value, str) and value.startswith(ELSEWHERE)]


def _file(data: Mapping[str, Any]) -> Any:
    fingerprints = [str(data.get(split, {}).get("fingerprint", ""))[:16] for split in ("train", "val")]
    safe = "-".join(word for word in fingerprints if word.isalnum())
    return cache_folder() / "places" / f"{safe}.json"
