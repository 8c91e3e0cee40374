"""Which bytes a record vouches for: digests of its files in record.json, which ends with a digest of itself."""

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from expkit.core.manifest import CheckpointDamaged, read_manifest

NAME = "record.json"
CHECKPOINTS = "checkpoints/"
# Files that stay at home when a record is shared: large, or with paths of this machine.
REPORT = "report.html"
AT_HOME = (CHECKPOINTS, "log.txt", REPORT, "exhibits/", "ranks/")
# Not the record's: who works in the folder, and what a logger's own server or viewer may still write to.
_LEFT_OUT = ("run.lock", "events.out.tfevents", "spool", ".")
_LEFT_OUT_FOLDERS = ("ranks", "wandb")  # a launcher's working files, and what `wandb sync` goes on writing
_OWN = re.compile(
    r"(config|config_before_\d+|overrides)\.yaml|\w+\.jsonl?|data_files\w*\.txt\.gz|log\.txt|report\.html|.*code\.patch"
    r"|(.*sources|plugins|pictures|checkpoints)/.*"
)

_DAMAGED = re.compile(r"_damaged_\d+(\.|$)")  # put aside when a run went on


def file_digest(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests(folder: Path, strangers: Collection[str] = ()) -> dict[str, str]:
    """Return name -> sha256 of every file that a record's folder holds, its checkpoints too; names with /.

    That of a checkpoint's tensors is the one that was taken while they were written. strangers: names to leave out,
    as the report is, which is made of the closed record; a file that cannot be read is left out too.
    """
    found = {}
    for name in file_names(folder):
        if name not in strangers and name != REPORT:
            with suppress(OSError):
                found[name] = _known_digest(folder / name) or file_digest(folder / name)
    return found


def vouched(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return name -> sha256 of all files that a record vouches for, its checkpoints too."""
    parts = (facts.get("files"), facts.get("checkpoints"))
    return {str(name): digest for part in parts if isinstance(part, Mapping) for name, digest in part.items()}


def strangers_in(folder: Path, facts: Mapping[str, Any]) -> set[str]:
    """Return the names of files that others have put into a run folder, such as an evaluation of the run.

    They change without the run, which vouches for none of them. facts: the record's, of before.
    """
    known = vouched(facts)
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
    """Yield the names of the files that belong to a record, sorted; record.json itself is none of them."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and belongs(name):
            yield name


def belongs(name: str) -> bool:
    """Return True if a file of a run folder is one that record.json vouches for."""
    parts = name.split("/")
    return name != NAME and parts[0] not in _LEFT_OUT_FOLDERS and not any(part.startswith(_LEFT_OUT) for part in parts)
