"""Checkpoints: written whole or not at all, read without executing anything."""

from expkit.checkpoints.followed import FollowedCheckpoints
from expkit.checkpoints.keep import CheckpointOptions, Checkpoints
from expkit.checkpoints.lock import FolderInUse, FolderLock
from expkit.checkpoints.manifest import CheckpointDamaged
from expkit.checkpoints.read import newest_intact, read_checkpoint, weights_of
from expkit.checkpoints.weights import WeightsRefused, export_weights, import_weights, read_weights
from expkit.checkpoints.whole import sweep, write_whole
from expkit.checkpoints.write import CheckpointNotWritten, WeightsNotFinite, write_checkpoint

__all__ = [
    "CheckpointDamaged",
    "CheckpointNotWritten",
    "CheckpointOptions",
    "Checkpoints",
    "FolderInUse",
    "FolderLock",
    "FollowedCheckpoints",
    "WeightsNotFinite",
    "WeightsRefused",
    "export_weights",
    "import_weights",
    "newest_intact",
    "read_checkpoint",
    "read_weights",
    "sweep",
    "weights_of",
    "write_checkpoint",
    "write_whole",
]
