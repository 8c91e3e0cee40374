"""The list of files that cannot be used: written by a run and by the doctor, read by the next run."""

import json
from collections.abc import Mapping
from pathlib import Path

from expkit.core.errors import ConfigError
from expkit.core.escaping import shortened
from expkit.core.files import write_json
from expkit.core.user_folders import expanded

LIST_NAME = "bad_files.json"


def write_bad_files(path: Path, reasons: Mapping[str, str]) -> None:
    """Write a list of sample names with the reason why each cannot be used, one a line."""
    write_json(path, dict(sorted(reasons.items())))


def read_bad_files(place: str, option: str = "dataset.exclude") -> dict[str, str]:
    """Return sample name -> reason of a list, or of the run folder that holds one. Raises ConfigError."""
    path = expanded(place)
    path = path / LIST_NAME if path.is_dir() else path
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{option}: cannot read '{path}': {error.strerror}; give a {LIST_NAME}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{option}: '{path}' is not JSON: {shortened(str(error))}") from error
    if not isinstance(read, dict) or not all(isinstance(reason, str) for reason in read.values()):
        raise ConfigError(f'{option}: \'{path}\' must map names to reasons, e.g. {{"cat/1.jpg": "the file is empty"}}')
    return read
