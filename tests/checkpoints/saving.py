"""A process that saves checkpoints and is killed at it.

python tests/checkpoints/saving.py loop FOLDER       saves without end, each state larger than a disk's buffer
python tests/checkpoints/saving.py instants FOLDER   one child for each instant of a save, killed there; prints how many
"""

import builtins
import itertools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from expkit.checkpoints.manager import CheckpointManager, CheckpointOptions
from expkit.checkpoints.reader import newest_intact
from expkit.core import files

SCORES = {1: 0.9, 2: 0.5, 3: 0.95}  # the third takes the places of both others


def state_of(step: int, size: int) -> dict[str, Any]:
    return {"model": {"w": torch.full((size,), float(step))}}


def score_of(step: int) -> float:
    """Up and down, so that the best and the last are different ones."""
    return step * 7 % 10 / 10


def loop(folder: Path) -> None:
    found = newest_intact(folder)
    kept = CheckpointManager(folder, "accuracy", True, CheckpointOptions(keep_last=2, keep_best=2, background=True))
    if found:
        kept.resume(found.facts)
    for step in itertools.count(found.facts["step"] + 1 if found else 1):
        kept.save(state_of(step, 1_000_000), {"epoch": step, "step": step}, {"accuracy": score_of(step)})
        print(step, flush=True)


def instants(parent: Path) -> None:
    for number in itertools.count(1):
        folder = parent / f"{number:03d}"
        kept = CheckpointManager(folder, "accuracy", True, CheckpointOptions(background=False))
        for step in (1, 2):
            kept.save(state_of(step, 100), {"epoch": step, "step": step}, {"accuracy": SCORES[step]})
        if not (child := os.fork()):
            die_at(number)
            kept.save(state_of(3, 100), {"epoch": 3, "step": 3}, {"accuracy": SCORES[3]})
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            break
    print(number - 1)


def die_at(number: int) -> None:
    """Kill this process, as kill -9 does, before or after one of the calls that a save and its pruning make."""
    left = iter(range(number - 1, -1, -1))

    def instant() -> None:
        if next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            instant()
            result = function(*arguments, **options)
            instant()
            return result

        return call

    class Torn:
        """A file of which each write is two, with an instant between."""

        def __init__(self, *arguments: Any) -> None:
            self.file = builtins.open(*arguments)  # noqa: SIM115

        def __enter__(self) -> "Torn":
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, data: bytes) -> None:
            self.file.write(data[: len(data) // 2])
            self.file.flush()
            instant()
            self.file.write(data[len(data) // 2 :])

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    files.open = around(Torn)  # type: ignore[attr-defined]
    for name in ("fsync", "replace", "unlink"):
        setattr(os, name, around(getattr(os, name)))


if __name__ == "__main__":
    {"loop": loop, "instants": instants}[sys.argv[1]](Path(sys.argv[2]))
