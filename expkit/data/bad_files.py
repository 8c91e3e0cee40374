"""The list of unusable files: written by a run and by the doctor, read by the next run."""

import json
from collections.abc import Mapping
from pathlib import Path

from expkit.core.errors import ConfigError
from expkit.core.escaping import shortened
from expkit.core.files import write_json
from expkit.core.user_folders import expanded

LIST_NAME = "bad_files.json"


def write_bad_files(path: Path, reasons: Mapping[str, str]) -> None:
    """Write the name of each unusable sample with the reason, one per line."""
    write_json(path, dict(sorted(reasons.items())))


def read_bad_files(place: str, option: str = "dataset.exclude") -> dict[str, str]:
    """Return {sample name: reason} from a list, or from a run folder that contains one. Raises ConfigError."""
    path = expanded(place)
    path = path / LIST_NAME if path.is_dir() else path
    try:
        reasons = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{option}: cannot read '{path}': {error.strerror}; give a {LIST_NAME}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{option}: '{path}' is not JSON: {shortened(str(error))}") from error
    if not isinstance(reasons, dict) or not all(isinstance(reason, str) for reason in reasons.values()):
        raise ConfigError(f'{option}: \'{path}\' must map names to reasons, e.g. {{"cat/1.jpg": "the file is empty"}}')
    return reasons
