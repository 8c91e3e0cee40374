"""Which checkpoints a run writes and keeps: the last ones, and the best by a monitored score."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expkit.checkpoints.read import CheckpointDamaged, read_manifest
from expkit.checkpoints.write import manifest_path, write_checkpoint
from expkit.registry import ConfigError, checkpoints


@checkpoints.register("last_and_best")
@dataclass(frozen=True)
class CheckpointOptions:
    """Keep the last checkpoint and the best one by a validation score.

    monitor: the score's name, null for the task's own (accuracy, or map for multilabel). every: epochs between
    checkpoints. resume: a checkpoint, or a run folder, to go on from. init_from: one to take the weights from.
    """

    monitor: str | None = None
    every: int = 1
    resume: str | None = None
    init_from: str | None = None

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ConfigError(f"checkpoint.every: takes a whole number of epochs from 1 up, got {self.every}")
        if self.resume and self.init_from:
            raise ConfigError("checkpoint.resume: goes on with a run, init_from starts a new one; give one of them")


@checkpoints.register("none")
def none() -> None:
    """Write no checkpoint."""


class Checkpoints:
    """The checkpoints of one run folder: `save` writes one and prunes all but the last and the best.

    monitor: name of the score that says which is best; higher_is_better: its direction.
    """

    def __init__(self, folder: Path, monitor: str, higher_is_better: bool, every: int = 1) -> None:
        self.folder, self.monitor, self.every = folder, monitor, every
        self.sign = 1.0 if higher_is_better else -1.0
        self.best_score: float | None = None
        self.best: Path | None = None
        self.last: Path | None = None

    def due(self, epoch: int, is_last: bool) -> bool:
        """Say whether a checkpoint is written after this epoch."""
        return is_last or (epoch + 1) % self.every == 0

    def save(self, state: dict[str, Any], facts: dict[str, Any], scores: dict[str, float]) -> bool:
        """Write a checkpoint; returns whether it is the best so far."""
        self.folder.mkdir(exist_ok=True)
        path = self.folder / f"epoch_{facts['epoch']:04d}_step_{facts['step']:08d}.safetensors"
        score = scores.get(self.monitor)
        is_best = score is not None and (self.best_score is None or self.sign * score > self.sign * self.best_score)
        write_checkpoint(path, state, {**facts, "scores": scores, "monitor": self.monitor})
        self.last = path
        if is_best:
            self.best, self.best_score = path, score
        self._prune()
        return is_best

    def _prune(self) -> None:
        for path in self.folder.glob("*.safetensors"):
            if path not in (self.last, self.best):
                manifest_path(path).unlink(missing_ok=True)  # first, so that no manifest names a file that is gone
                path.unlink()


def find_checkpoint(place: Path, option: str) -> Path:
    """Return a checkpoint file: `place` itself, or the last one of a run folder. Raises ConfigError naming `option`."""
    if place.is_file():
        return place
    for folder in (place, place / "checkpoints"):
        if found := _finished(folder):
            return found[-1]
    problem = "holds no finished checkpoint" if place.is_dir() else "there is no such file or folder"
    raise ConfigError(f"{option}: {place}: {problem}; give a .safetensors file or a run folder")


def _finished(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder that have a manifest, oldest first."""
    steps = []
    for path in folder.glob("*.safetensors"):
        try:
            steps.append((read_manifest(path)["step"], path))
        except CheckpointDamaged:  # never finished: not a checkpoint
            continue
    return [path for _, path in sorted(steps)]
