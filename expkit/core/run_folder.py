"""The names in a run folder: which are files and which are folders, and whether a folder is a run's at all."""

import os
import time
from pathlib import Path

from expkit.core.errors import ConfigError
from expkit.core.user_folders import expanded

FILES = (
    "record.json", "config.yaml", "overrides.yaml", "env.json", "code.json", "code.patch", "data.json",
    "data_files.txt.gz", "metrics.jsonl", "events.jsonl", "exhibits.jsonl", "log.txt", "report.html", "result.json",
    "bad_files.json", "run.lock",
)  # fmt: skip
FOLDERS = ("checkpoints", "pictures", "sources", "plugins")
_SIGNS = ("record.json", "config.yaml", "metrics.jsonl", "events.jsonl")  # any of them is enough: others may be lost


def is_run_folder(folder: Path) -> bool:
    """Say whether a folder is a run's, also one that has lost most of its files."""
    return folder.is_dir() and any((folder / name).is_file() for name in _SIGNS)


def check_kinds(folder: Path, option: str) -> None:
    """Raise ConfigError, which names `option`, for a directory where a run keeps a file, and the other way round."""
    faults = [
        f"{option}: {folder / name} is a directory, and a run keeps a file there; move it away and start again"
        for name in FILES if name != "report.html" and (folder / name).is_dir()  # the report may stay away
    ]  # fmt: skip
    faults += [
        f"{option}: {folder / name} is not a directory, and a run keeps one there; move it away and start again"
        for name in FOLDERS if os.path.lexists(folder / name) and not (folder / name).is_dir()
    ]  # fmt: skip
    faults += [
        f"{option}: {path} is a directory, and a checkpoint keeps a file there; move it away and start again"
        for path in sorted((folder / "checkpoints").glob("*"))
        if path.suffix in (".json", ".safetensors") and path.is_dir()
    ]
    if faults:
        raise ConfigError(*faults)


def make_run_folder(output_dir: str, name: str) -> Path:
    """Make and return output_dir/name_DATE_TIME, with a suffix where another run of this second was faster.

    mkdir is what decides, so two runs can never have one folder. Raises ConfigError when it may not be made.
    """
    parent = expanded(output_dir)
    stem = f"{name}_{time.strftime('%Y-%m-%d_%H-%M-%S')}"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for number in range(1, 10_000):
            folder = parent / (stem if number == 1 else f"{stem}_{number}")
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
    except OSError as error:
        problem = f"cannot make a run folder in '{parent}': {error.strerror}"
        raise ConfigError(f"output_dir: {problem}; give a folder that you may write to") from error
    raise ConfigError(f"output_dir: 10,000 runs began in '{parent}' in one second")
