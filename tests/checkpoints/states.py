"""States to save, and what there is to say about two of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from expkit.checkpoints.writer import Snapshot


def state_of(seed: int) -> dict[str, Any]:
    """Return a training state as the runner has it: tied weights, channels_last moments, keys that are numbers."""
    generator = torch.Generator().manual_seed(seed)
    tied = torch.randn(7, 5, generator=generator)
    laid_out = torch.randn(2, 3, 4, 5, generator=generator).to(memory_format=torch.channels_last)
    return {
        "model": {"a.weight": tied, "b.weight": tied, "n": torch.tensor(seed), "half": tied.bfloat16()},
        "optimizer": {
            "state": {0: {"step": torch.tensor(3.0), "exp_avg": laid_out}},
            "param_groups": [{"betas": (0.9, 0.99), "lr": 1e-3, "params": [0]}],
        },
        "epoch": seed,
        "best_score": None,
    }


def same(one: Any, other: Any) -> bool:
    """Return True if two states are equal to the last bit, in their types too."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def temporary_files(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*.tmp")]


def write_checkpoint(path: Path, state: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Write a state to `path` (safetensors) and its manifest beside it. Raises CheckpointNotWritten."""
    snapshot = Snapshot()
    snapshot.take(state)
    snapshot.write(path, facts)
