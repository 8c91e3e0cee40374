"""Writing files that are there whole or not at all, and checkpoints made of them."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import safetensors.torch
from torch import Tensor

from expkit.checkpoints.tree import split_tensors


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file through a temporary one in the same folder, so that a crash leaves the old one or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # a folder cannot be opened elsewhere
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_checkpoint(path: Path, state: dict[str, Any], facts: dict[str, Any]) -> None:
    """Write `path` (safetensors) and then its manifest `path.json`; without the manifest there is no checkpoint.

    state: nested dicts and lists of tensors and plain values. facts: plain values to know without loading (step,
    epoch, scores, classes).
    """
    plain, tensors = split_tensors(state)
    data = safetensors.torch.save(_storable(tensors))
    write_whole(path, lambda file: file.write(data))
    manifest = {
        "format": 1,
        "file": path.name,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        **facts,
        "state": plain,
    }
    text = json.dumps(manifest, indent=1)
    write_whole(manifest_path(path), lambda file: file.write(text.encode()))


def manifest_path(path: Path) -> Path:
    return path.with_suffix(".json")


def _storable(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return contiguous copies where needed: the format wants plain layout and no two names for one memory."""
    seen: set[int] = set()
    stored = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        shared = tensor.untyped_storage().data_ptr() in seen
        stored[name] = tensor.clone() if shared else tensor
        seen.add(stored[name].untyped_storage().data_ptr())
    return stored
