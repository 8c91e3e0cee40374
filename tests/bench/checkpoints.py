"""Saving a checkpoint: a save that training waits for, what it waits for when a thread writes, and plain torch.save.

python tests/bench/checkpoints.py [ROUNDS] [FOLDER]
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from expkit.checkpoints.manager import CheckpointManager, CheckpointOptions

SIZES = {"44 MB": 11, "300 MB": 75}  # in tensors of 4 MB
WARM_UP = 3  # rounds; a virtual machine's memory is several times slower at its first touch
State = dict[str, Any]


def state_of(tensors: int) -> State:
    """Return a state of so many tensors of a million float32 values."""
    return {"model": {f"layer{number}.weight": torch.randn(1000, 1000) for number in range(tensors)}}


def ours(kept: CheckpointManager, number: int, state: State) -> float:
    """Return the seconds that the training thread is held; whatever a thread still does is waited for afterwards."""
    began = time.perf_counter()
    kept.save(state, {"epoch": number, "step": number}, {"accuracy": number})
    seconds = time.perf_counter() - began
    kept.wait()
    return seconds


def plain(folder: Path, number: int, state: State) -> float:
    began = time.perf_counter()
    with open(folder / "temporary", "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(folder / "temporary", folder / "plain.pt")
    return time.perf_counter() - began


def measure(tensors: int, rounds: int, parent: Path | None) -> dict[str, list[float]]:
    """Return the seconds of each way, in rounds that alternate; the first ones are left out."""
    state = state_of(tensors)
    with tempfile.TemporaryDirectory(dir=parent) as name:
        folder = Path(name)
        waits = CheckpointManager(folder / "waits", "accuracy", True, CheckpointOptions(background=False))
        thread = CheckpointManager(folder / "thread", "accuracy", True, CheckpointOptions(background=True))
        ways: dict[str, Callable[[int], float]] = {
            "save": lambda number: ours(waits, number, state),
            "background save: held": lambda number: ours(thread, number, state),
            "torch.save + fsync": lambda number: plain(folder, number, state),
        }
        times: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(WARM_UP + rounds):
            for way, run in ways.items():
                seconds = run(number)
                if number >= WARM_UP:
                    times[way].append(seconds)
        thread.close()
    return times


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    parent = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    table = Table("state", "way", "ms (median)", "ms (range)", "ratio (median of pairs)", title=f"{rounds} rounds")
    for size, tensors in SIZES.items():
        times = measure(tensors, rounds, parent)
        for way, found in times.items():
            ratio = statistics.median(one / other for one, other in zip(found, times["save"], strict=True))
            low, middle, high = (value * 1e3 for value in (min(found), statistics.median(found), max(found)))
            table.add_row(size, way, f"{middle:.1f}", f"{low:.1f} – {high:.1f}", f"{ratio:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
