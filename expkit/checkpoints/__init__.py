"""CheckpointManager: written whole or not at all, read without executing anything."""

from expkit.checkpoints.foreign_weights import WeightsRefused, export_weights, import_weights, read_weights
from expkit.checkpoints.manager import CheckpointManager, CheckpointOptions, Checkpoints
from expkit.checkpoints.reader import newest_intact, read_checkpoint, weights_of
from expkit.checkpoints.writer import CheckpointNotWritten, WeightsNotFinite, write_checkpoint
from expkit.core.lock import FolderInUse, FolderLock
from expkit.core.manifest import CheckpointDamaged

__all__ = [
    "CheckpointDamaged",
    "CheckpointManager",
    "CheckpointNotWritten",
    "CheckpointOptions",
    "Checkpoints",
    "FolderInUse",
    "FolderLock",
    "WeightsNotFinite",
    "WeightsRefused",
    "export_weights",
    "import_weights",
    "newest_intact",
    "read_checkpoint",
    "read_weights",
    "weights_of",
    "write_checkpoint",
]
