"""Reading a checkpoint: manifest, size, digest, and only then the tensors."""

import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors.torch

from expkit.checkpoints.tree import join_tensors
from expkit.checkpoints.write import manifest_path


class CheckpointDamaged(Exception):
    """A checkpoint that cannot be trusted; the text names the file and what is wrong with it."""


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the facts and plain state of a checkpoint. Raises CheckpointDamaged."""
    manifest = manifest_path(path)
    try:
        facts = json.loads(manifest.read_text())
    except FileNotFoundError as error:
        raise CheckpointDamaged(f"{path}: has no manifest {manifest.name}, so it was never finished") from error
    except (OSError, ValueError) as error:
        raise CheckpointDamaged(f"{manifest}: cannot be read: {error}") from error
    if not isinstance(facts, dict) or facts.get("format") != 1:
        raise CheckpointDamaged(f"{manifest}: is not a checkpoint's manifest of format 1")
    return facts


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (state, facts) of a verified checkpoint, its tensors on the CPU.

    Raises CheckpointDamaged when the manifest, the size or the sha256 digest of the file does not agree.
    """
    facts = read_manifest(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointDamaged(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) != facts["bytes"]:
        raise CheckpointDamaged(f"{path}: has {len(data)} bytes, its manifest says {facts['bytes']}")
    if hashlib.sha256(data).hexdigest() != facts["sha256"]:
        raise CheckpointDamaged(f"{path}: its content does not match the digest in its manifest")
    state = join_tensors(facts.pop("state"), safetensors.torch.load(data))
    return state, facts
