"""The names in a run folder: which are files and which are folders, and whether a folder is a run's at all."""

import os
import time
from collections.abc import Sequence
from glob import glob
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
    """Return True if a folder is a run's, also one that has lost most of its files."""
    return folder.is_dir() and any((folder / name).is_file() for name in _SIGNS)


def find_run_folders(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return (run folders, paths that hold none): each path is a run, a folder that holds runs, or a pattern of them.

    Files, and folders within a run, are skipped: a shell's `outputs/**` names them too.
    """
    found: dict[Path, None] = {}
    empty = []
    for path in (one for given in paths for one in _expanded(given)):
        below = [path] if is_run_folder(path) else sorted(_below(path, depth=4))
        found |= dict.fromkeys(below)
        if not below and not path.is_file():
            empty.append(path)
    runs = list({folder.resolve(): folder for folder in found}.values())
    return runs, [path for path in empty if not any(path.is_relative_to(run) for run in runs)]


def _expanded(path: Path) -> list[Path]:
    """Return what a pattern stands for that no shell has expanded."""
    if "*" not in str(path) or path.exists():
        return [path]
    return sorted(map(Path, glob(str(path), recursive=True))) or [path]


def _below(folder: Path, depth: int) -> list[Path]:
    """Return the runs below a folder; a run's own folders are not searched."""
    try:
        inside = [one for one in folder.iterdir() if one.is_dir() and not one.is_symlink()] if folder.is_dir() else []
    except OSError:  # a folder that may not be read
        return []
    runs = [one for one in inside if is_run_folder(one)]
    deeper = [run for one in inside if one not in runs and depth for run in _below(one, depth - 1)]
    return runs + deeper


def check_kinds(folder: Path, option: str) -> None:
    """Raise ConfigError, which names `option`, for a directory where a run keeps a file, and the other way round."""
    files = [folder / name for name in FILES if name != "report.html"]  # the report may be missing
    files += [path for path in sorted(folder.glob("checkpoints/*")) if path.suffix in (".json", ".safetensors")]
    faults = [f"{path} is a directory, and a run keeps a file there" for path in files if path.is_dir()]
    folders = [path for name in FOLDERS if os.path.lexists(path := folder / name) and not path.is_dir()]
    faults += [f"{path} is not a directory, and a run keeps one there" for path in folders]
    if faults:
        raise ConfigError(*(f"{option}: {fault}; move it away and start again" for fault in faults))


def make_run_folder(output_dir: str, name: str) -> Path:
    """Make and return output_dir/name_DATE_TIME, with a suffix where another run of this second has that name.

    mkdir decides, so two runs can never share a folder. Raises ConfigError when it may not be made.
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
