"""Reading a checkpoint: manifest, size, digest, and only then the tensors."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import safetensors.torch

from expkit.checkpoints.state_tree import join_tensors
from expkit.core.manifest import CheckpointDamaged, finished_checkpoints, read_manifest


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (state, facts) of a verified checkpoint, its tensors on the CPU, wherever they were saved from.

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
    return _join(path, facts.pop("state"), data), facts


def _join(path: Path, plain: Any, data: bytes) -> dict[str, Any]:
    """Return the state of a file whose digests agree: parts that do not fit together are no accident."""
    try:
        state = join_tensors(plain, safetensors.torch.load(data))
    except KeyError as error:
        raise CheckpointDamaged(f"{path}: is no checkpoint that expkit wrote: {error} is no tensor in it") from error
    except (safetensors.SafetensorError, TypeError, ValueError, RecursionError) as error:
        problem = error if isinstance(error, safetensors.SafetensorError) else "its manifest does not describe a state"
        raise CheckpointDamaged(f"{path}: is no checkpoint that expkit wrote: {problem}") from error
    if not isinstance(state, dict):
        raise CheckpointDamaged(f"{path}: is no checkpoint that expkit wrote: it holds a {type(state).__name__}")
    return state


def weights_of(state: dict[str, Any]) -> dict[str, Any]:
    """Return the weights that a checkpoint's scores belong to: the moving average where the run kept one."""
    weights: dict[str, Any] = state.get("average", state)["model"]
    return weights


class Intact(NamedTuple):
    """The newest checkpoint that can be trusted; problems: a sentence on each newer or unreadable one."""

    state: dict[str, Any]
    facts: dict[str, Any]
    path: Path
    problems: list[str]


def first_intact(paths: Iterable[Path], problems: list[str]) -> Intact | None:
    """Return the first checkpoint that can be trusted, or None; problems: gets a sentence on each one before it."""
    for path in paths:
        try:
            return Intact(*read_checkpoint(path), path, problems)
        except CheckpointDamaged as error:
            problems.append(str(error))
    return None


def newest_intact(folder: Path) -> Intact | None:
    """Return the newest intact checkpoint of a folder, None where no checkpoint was ever finished.

    Raises CheckpointDamaged, with a sentence on each, when there are some and none is intact.
    """
    finished, problems = finished_checkpoints(folder)
    if found := first_intact(reversed(finished), problems):
        return found
    if any(folder.glob("*.json")):
        raise CheckpointDamaged(f"{folder}: no checkpoint is intact: {'; '.join(problems)}")
    return None
