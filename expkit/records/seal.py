"""Which bytes a record vouches for: digests of its files in record.json, which ends with a digest of itself."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from expkit.checkpoints.manifest import CheckpointDamaged, manifest_bytes, read_manifest

NAME = "record.json"
CHECKPOINTS = "checkpoints/"
# Files that stay at home when a record is shared: large, or with paths of this machine.
AT_HOME = (CHECKPOINTS, "log.txt", "report.html", "exhibits/")
# Not the record's: who works in the folder, and what a logger's own server or viewer may still write to.
_LEFT_OUT = ("run.lock", "events.out.tfevents", "spool", ".")


def sealed(facts: dict[str, Any]) -> bytes:
    """Return record.json's content: the facts, and a last member with the digest of all bytes before it."""
    return manifest_bytes(facts)


def unsealed(data: bytes) -> dict[str, Any] | None:
    """Return the facts of a record.json, or None where so much as a byte differs from what was written."""
    try:
        facts = json.loads(data)
        if not isinstance(facts, dict):
            return None
        digest = facts.pop("digest", None)
        return facts if isinstance(digest, str) and manifest_bytes(facts) == data else None
    except (ValueError, RecursionError):
        return None


def file_digest(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests(folder: Path) -> dict[str, str]:
    """Return name -> sha256 of every file that a record's folder holds, its checkpoints too; names with /.

    That of a checkpoint's tensors is the one that was taken while they were written.
    """
    return {name: _known_digest(folder / name) or file_digest(folder / name) for name in file_names(folder)}


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
    """Say whether a file of a run folder is one that record.json vouches for."""
    return name != NAME and not any(part.startswith(_LEFT_OUT) for part in name.split("/"))
