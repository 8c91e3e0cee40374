"""The files covered by record.json: digests of each, and at its end a digest of itself."""

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from expkit.core.manifest import CheckpointDamaged, read_manifest

NAME = "record.json"
CHECKPOINTS = "checkpoints/"
# Files that a shared record lacks: large, or with paths of this machine.
REPORT = "report.html"
AT_HOME = (CHECKPOINTS, "log.txt", REPORT, "exhibits/", "ranks/")
# Not covered: the lock, and files that a logger's server or viewer may still write.
_LEFT_OUT = ("run.lock", "events.out.tfevents", "spool", ".")
_LEFT_OUT_FOLDERS = ("ranks", "wandb")  # the launcher's working files, and what `wandb sync` still writes
_OWN = re.compile(
    r"(config|config_before_\d+|overrides)\.yaml|\w+\.jsonl?|data_files\w*\.txt\.gz|log\.txt|report\.html|.*code\.patch"
    r"|(.*sources|plugins|pictures|checkpoints)/.*"
)

_DAMAGED = re.compile(r"_damaged_\d+(\.|$)")  # set aside when a run was resumed


def file_digest(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests(folder: Path, foreign: Collection[str] = ()) -> dict[str, str]:
    """Return name (with /) -> sha256 of every file of a record's folder, checkpoints included.

    The digest of a checkpoint's tensors is the manifest's. foreign: names to leave out. The report, which is made from
    the closed record, and unreadable files are left out too.
    """
    found = {}
    for name in file_names(folder):
        if name not in foreign and name != REPORT:
            with suppress(OSError):
                found[name] = _known_digest(folder / name) or file_digest(folder / name)
    return found


def covered(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return name -> sha256 of all files that a record covers, checkpoints included."""
    parts = (facts.get("files"), facts.get("checkpoints"))
    return {str(name): digest for part in parts if isinstance(part, Mapping) for name, digest in part.items()}


def foreign_files(folder: Path, facts: Mapping[str, Any]) -> set[str]:
    """Return the names of files that other programs added to a run folder, such as an evaluation of the run.

    The record does not cover them. facts: of the record.
    """
    known = covered(facts)
    names = [name for name in file_names(folder) if name not in known]
    return {name for name in names if not _OWN.fullmatch(name) or _DAMAGED.search(name)}


def _known_digest(path: Path) -> str:
    if path.suffix != ".safetensors":
        return ""
    try:
        return str(read_manifest(path)["sha256"])
    except CheckpointDamaged:
        return ""


def file_names(folder: Path) -> Iterator[str]:
    """Yield the names of the files of a record, sorted, without record.json."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and belongs(name):
            yield name


def belongs(name: str) -> bool:
    """Return True if record.json may cover a file of this name."""
    parts = name.split("/")
    return name != NAME and parts[0] not in _LEFT_OUT_FOLDERS and not any(part.startswith(_LEFT_OUT) for part in parts)
