"""One run by one process and by several ranks, and whether they are the same."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from expkit.config.compose import compose_one, plain
from expkit.runs.train import train as train_run
from tests.devices.starting import done, only_run, points, small

TWO = ["device=multi_cpu", "device.count=2"]
TIMES = ("seconds", "images_per_second", "data_wait")


def by_one(folder: Path, *more: str) -> Path:
    """Run in this process; returns the run folder."""
    overrides = small(folder, f"output_dir={folder}/one", "device=cpu", *more)
    train_run(plain(compose_one(overrides)), overrides, "python -m expkit.run …")
    return only_run(folder / "one")


def by_ranks(folder: Path, *more: str) -> Path:
    code, printed = done(small(folder, f"output_dir={folder}/ranks", *TWO, *more))
    assert code == 0, printed
    return only_run(folder / "ranks")


def assert_same_weights(one: Path, other: Path) -> None:
    """All tensors of two checkpoints, within what the order of sums does."""
    ours, theirs = load_file(one), load_file(other)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.allclose(theirs[name], value, rtol=1e-5, atol=1e-6), name


def assert_same_run(one: Path, other: Path) -> None:
    """The weights after all epochs, and every point that was logged, within what the order of sums does."""
    for path in sorted((one / "checkpoints").glob("*.safetensors")):
        assert_same_weights(path, other / "checkpoints" / path.name)
    ours_told, theirs_told = points(one), points(other)
    assert len(ours_told) == len(theirs_told)
    for ours, theirs in zip(ours_told, theirs_told, strict=True):
        for name in ours.keys() - {"kind", *TIMES}:
            assert theirs[name] == pytest.approx(ours[name], rel=1e-5), name
            if "accuracy" in name:
                assert theirs[name] == ours[name]


def last_checkpoint(run_folder: Path) -> Path:
    return sorted((run_folder / "checkpoints").glob("*.safetensors"))[-1]
