"""A checkpoint's manifest: JSON that holds the digest of the tensors' file beside it and, in its last line, its own."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from expkit.core.formatting import is_number
from expkit.core.sealing import seal_of
from expkit.core.sealing import sealed as manifest_bytes

__all__ = ["CheckpointDamaged", "finished_checkpoints", "manifest_bytes", "manifest_path", "read_manifest"]

FORMAT = 2
_NEEDED = {"bytes", "sha256", "state"}
_KINDS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("bytes", "number", "epoch", "batch", "step", "samples"), lambda value: isinstance(value, int)),
    "scores": lambda value: isinstance(value, dict) and all(map(is_number, value.values())),
    "monitor": lambda value: value is None or isinstance(value, str),
    "best_score": lambda value: value is None or is_number(value),
    "config": lambda value: isinstance(value, dict),
    "class_names": lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
}


class CheckpointDamaged(Exception):
    """A checkpoint that cannot be trusted; the text names the file and what is wrong with it."""


def manifest_path(path: Path) -> Path:
    """Return the manifest's path of a checkpoint file."""
    return path.with_suffix(".json")


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the facts and plain state of the checkpoint file `path`. Raises CheckpointDamaged."""
    manifest = manifest_path(path)
    try:
        data = manifest.read_bytes()
    except FileNotFoundError as error:
        raise CheckpointDamaged(f"{path}: has no manifest {manifest.name}, so it was never finished") from error
    except OSError as error:
        raise CheckpointDamaged(f"{manifest}: cannot be read: {error.strerror}") from error
    body = data[: -len(seal_of(b""))]
    if data != body + seal_of(body):
        raise CheckpointDamaged(f"{manifest}: was cut or changed: it does not match the digest at its end")
    facts = None
    with suppress(ValueError, RecursionError):
        facts = json.loads(data)
    if not isinstance(facts, dict) or facts.pop("format", None) != FORMAT or not facts.keys() >= _NEEDED:
        raise CheckpointDamaged(f"{manifest}: is not a checkpoint's manifest of format {FORMAT}")
    del facts["digest"]
    if wrong := [key for key, is_sound in _KINDS.items() if key in facts and not is_sound(facts[key])]:
        raise CheckpointDamaged(f"{path}: its manifest is not one that expkit wrote: {', '.join(wrong)}")
    return facts


def finished_checkpoints(folder: Path) -> tuple[dict[Path, dict[str, Any]], list[str]]:
    """Return (facts of the checkpoints with an intact manifest, oldest first; a sentence on each one without).

    folder: of checkpoints, or of a run that has some. The order is that of their writing: after a return to an older
    one, a later checkpoint may have a lower step.
    """
    folder = inside if (inside := folder / "checkpoints").is_dir() else folder
    files = [path for path in folder.glob("*") if path.suffix in (".json", ".safetensors")]
    found, problems = [], []
    for path in sorted({path.with_suffix(".safetensors") for path in files}):
        try:
            found.append((path, read_manifest(path)))
        except CheckpointDamaged as error:
            problems.append(str(error))
    found.sort(key=lambda one: (one[1].get("number", 0), one[1].get("step", 0)))
    return dict(found), problems
