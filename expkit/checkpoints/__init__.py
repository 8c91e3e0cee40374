"""Checkpoints: written whole or not at all, read without executing anything."""

from expkit.checkpoints.keep import CheckpointOptions, Checkpoints
from expkit.checkpoints.read import CheckpointDamaged, read_checkpoint
from expkit.checkpoints.write import write_checkpoint, write_whole

__all__ = [
    "CheckpointDamaged",
    "CheckpointOptions",
    "Checkpoints",
    "read_checkpoint",
    "write_checkpoint",
    "write_whole",
]
