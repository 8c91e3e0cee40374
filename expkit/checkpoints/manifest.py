"""A checkpoint's manifest: JSON beside the tensors' file that vouches for it, and by its last line for itself."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FORMAT = 2
_NEEDED = {"bytes", "sha256", "state"}


class CheckpointDamaged(Exception):
    """A checkpoint that cannot be trusted; the text names the file and what is wrong with it."""


def manifest_path(path: Path) -> Path:
    """Return the manifest's path of a checkpoint file."""
    return path.with_suffix(".json")


def manifest_bytes(facts: Mapping[str, Any]) -> bytes:
    """Return a manifest's content: the facts, and a last member with the digest of all bytes before it."""
    body = json.dumps(facts, indent=1).encode().removesuffix(b"\n}")
    return body + _seal(body)


def _seal(body: bytes) -> bytes:
    return b',\n "digest": "%s"\n}\n' % hashlib.sha256(body).hexdigest().encode()


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the facts and plain state of the checkpoint file `path`. Raises CheckpointDamaged."""
    manifest = manifest_path(path)
    try:
        data = manifest.read_bytes()
    except FileNotFoundError as error:
        raise CheckpointDamaged(f"{path}: has no manifest {manifest.name}, so it was never finished") from error
    except OSError as error:
        raise CheckpointDamaged(f"{manifest}: cannot be read: {error.strerror}") from error
    body = data[: -len(_seal(b""))]
    if data != body + _seal(body):
        raise CheckpointDamaged(f"{manifest}: was cut or changed: it does not match the digest at its end")
    facts = _parse(data)
    if not isinstance(facts, dict) or facts.pop("format", None) != FORMAT or not facts.keys() >= _NEEDED:
        raise CheckpointDamaged(f"{manifest}: is not a checkpoint's manifest of format {FORMAT}")
    del facts["digest"]
    return facts


def _parse(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
