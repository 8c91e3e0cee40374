"""Writing a checkpoint: a snapshot of the state, the tensors' file, and then the manifest that makes it one."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from expkit.checkpoints.safetensors_buffer import Packed, is_finite
from expkit.checkpoints.state_tree import split_tensors
from expkit.core.files import atomic_write
from expkit.core.manifest import FORMAT, manifest_bytes, manifest_path


class CheckpointNotWritten(Exception):
    """A checkpoint could not be written; those before it are untouched. The text names the file and the reason."""


class WeightsNotFinite(CheckpointNotWritten):
    """The model's weights hold NaN or infinity: they must not replace good ones."""


class Snapshot:
    """A state at one instant, in memory that the next snapshot reuses."""

    def __init__(self) -> None:
        self.plain: Any = None
        self.packed = Packed()

    def take(self, state: Mapping[str, Any]) -> None:
        """Copy a state: nested dicts and lists of tensors and plain values.

        Raises WeightsNotFinite, and TypeError for a state with anything else in it.
        """
        self.plain, tensors = split_tensors(dict(state))
        self.packed.pack(tensors)
        for name, view in self.packed.views.items():
            if name.startswith("model/") and not is_finite(view):
                raise WeightsNotFinite(
                    f"the weights {name.removeprefix('model/')} hold NaN or infinity, so no checkpoint was written"
                )

    def write(self, path: Path, facts: Mapping[str, Any]) -> None:
        """Write `path` (safetensors) and then its manifest; until that is there, there is no checkpoint.

        facts: plain values to know without loading (step, epoch, scores, classes). Raises CheckpointNotWritten.
        """
        if manifest_path(path).exists():  # of two files that replace two others, a crash may leave one of each
            raise CheckpointNotWritten(f"{path}: is there already, and a checkpoint is never overwritten")
        manifest = {"format": FORMAT, "file": path.name, "bytes": self.packed.size, "sha256": "0" * 64}
        manifest |= {**facts, "state": self.plain}
        try:
            with disk_space(path, self.packed.size + len(manifest_bytes(manifest))):
                manifest["sha256"] = atomic_write(path, self.packed.write)
                text = manifest_bytes(manifest)
                atomic_write(manifest_path(path), lambda file: file.write(text))
        except BaseException:
            with suppress(OSError):  # the first error is the one to report
                remove_checkpoint(path)
            raise


def remove_checkpoint(path: Path) -> None:
    """Remove a checkpoint, its manifest first, so that no manifest names a file that is gone."""
    manifest_path(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


@contextmanager
def disk_space(path: Path, needed: int) -> Iterator[None]:
    """Check that `needed` bytes fit before they are written, and name the free space if it fails all the same.

    Raises CheckpointNotWritten.
    """
    try:
        if shutil.disk_usage(path.parent).free < needed:
            raise CheckpointNotWritten(_not_written(path, needed, "there is too little space"))
        yield
    except OSError as error:
        raise CheckpointNotWritten(_not_written(path, needed, error.strerror or str(error))) from error


def _not_written(path: Path, needed: int, reason: str) -> str:
    try:
        free = f"{shutil.disk_usage(path.parent).free:,} are free"
    except OSError:  # the folder itself is gone
        free = "it is unknown how many are free"
    return f"{path}: was not written: {reason}; it needs {needed:,} bytes, and {free} in {path.parent}"
