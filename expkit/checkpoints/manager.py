"""Which checkpoints a run writes and keeps: the last ones, and the best by a monitored score."""

import copy
import math
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from expkit.checkpoints.reader import Intact, newest_intact
from expkit.checkpoints.writer import CheckpointNotWritten, Snapshot, remove_checkpoint
from expkit.config.registry import checkpoints
from expkit.config.signature import FROM_NOW_ON, RESULT
from expkit.core.errors import ConfigError
from expkit.core.files import remove_temporary_files, sync_folder
from expkit.core.manifest import finished_checkpoints, manifest_path

_OURS = "epoch_*_step_*"  # files of other names are not ours to remove


@checkpoints.register("last_and_best")
@dataclass(frozen=True)
class CheckpointOptions:
    """Keep the last checkpoints and the best ones by a validation score.

    monitor: the score's name, null for the task's own (accuracy, or map for multilabel). higher_is_better: null for
    what is known of that score; of one that only a watcher measures it has to be said. every: epochs between
    checkpoints; every_steps: steps between further ones within an epoch, null for none. keep_last, keep_best: how many
    of each. background: write in a thread while training continues. resume: a run folder to continue in, a checkpoint
    file to continue from in a new folder, or "auto": the last run of this very config in output_dir, if there is one.
    force: resume although the config differs in what changes the result. init_from: a checkpoint, run folder, or
    file of weights (.safetensors, .pt, .pth) to begin with; a head for other classes is left out.
    """

    monitor: Annotated[str | None, RESULT] = None  # it says when early stopping ends the run
    every: int = 1
    every_steps: int | None = None
    keep_last: int = 1
    keep_best: int = 1
    background: bool = True
    resume: str | None = None
    force: bool = False
    init_from: Annotated[str | None, FROM_NOW_ON] = None
    higher_is_better: bool | None = None

    def __post_init__(self) -> None:
        faults = []
        for name, least in (("every", 1), ("every_steps", 1), ("keep_last", 1), ("keep_best", 0)):
            if (value := getattr(self, name)) is not None and value < least:
                faults.append(f"checkpoint.{name}: expected an integer from {least} up, got {value}")
        if self.resume and self.init_from:
            faults.append("checkpoint.resume: continues a run, and init_from starts a new one; give one of them")
        if faults:
            raise ConfigError(*faults)


@checkpoints.register("none")
def none() -> None:
    """Write no checkpoint."""


@dataclass(frozen=True)
class Kept:
    """One finished checkpoint: its number among the run's writes, its score, and the best score up to then."""

    path: Path
    number: int
    score: float | None
    best_score: float | None


class Checkpoints:
    """A manager that writes nothing, for a rank that is not the first: it knows the folder, and when one is due."""

    def __init__(self, folder: Path, options: CheckpointOptions) -> None:
        self.folder, self.options = folder, options

    def due_after(self, epochs: int, is_last: bool) -> bool:
        """Return True if a checkpoint is written after so many epochs."""
        return is_last or epochs % self.options.every == 0

    def due_at(self, step: int) -> bool:
        """Return True if a checkpoint is written after this step, within an epoch."""
        return self.options.every_steps is not None and step % self.options.every_steps == 0

    def newest(self) -> Intact | None:
        """Return the newest intact checkpoint of the folder, None without any."""
        return newest_intact(self.folder)

    def save(self, state: Mapping[str, Any], facts: Mapping[str, Any], scores: Mapping[str, float]) -> bool:
        """Write a checkpoint of the state as it is now; return whether it is the best so far."""
        return False

    def resume(self, facts: Mapping[str, Any]) -> None:
        """Continue where the checkpoint with these facts left off."""

    def wait(self) -> None:
        """Wait until all that was saved is written."""

    def close(self) -> None:
        """Wait, and end the thread that writes."""


class CheckpointManager(Checkpoints):
    """The checkpoints of one run folder: `save` writes one and prunes all but the last and the best.

    monitor: name of the score that says which is best; higher_is_better: its direction. written: called with each
    finished checkpoint, in the thread that writes it; with `options.background` `close` must be called at the end.
    What a folder holds already is found again, and what a killed writer left is removed: hold the folder's lock.
    """

    def __init__(
        self, folder: Path, monitor: str, higher_is_better: bool, options: CheckpointOptions,
        written: Callable[[Path], object] = lambda path: None,
    ) -> None:  # fmt: skip
        super().__init__(folder, options)
        self.monitor, self.written = monitor, written
        self.sign = 1.0 if higher_is_better else -1.0
        self.snapshot = Snapshot()
        self.thread = ThreadPoolExecutor(1, "checkpoint") if options.background else None
        self.writing: Future[None] | None = None
        remove_temporary_files(folder)
        for path in folder.glob(f"{_OURS}.safetensors"):  # unfinished
            if not manifest_path(path).exists():
                path.unlink()
        self.kept = self._found()  # in the order of their writing
        self.number = max((one.number for one in self.kept), default=0)
        self.best_score: float | None = None
        for one in self.kept:
            self.best_score = self._better(one.best_score, self._better(one.score, self.best_score))

    @property
    def last(self) -> Path | None:
        """The newest finished checkpoint."""
        return self.kept[-1].path if self.kept else None

    @property
    def best(self) -> Path | None:
        """The checkpoint with the best score; of equal ones the oldest."""
        ranked = self._ranked()
        return ranked[0].path if ranked and self.options.keep_best else None

    def resume(self, facts: Mapping[str, Any]) -> None:
        """Continue where the checkpoint with these facts left off, whichever folder it is in.

        What was written here after it is damaged, or will be computed again: it no longer counts, and its files are
        removed once the next checkpoint is written.
        """
        self.kept = [one for one in self.kept if one.number <= facts.get("number", 0)]
        self.best_score = self._best_score(facts)

    def save(self, state: Mapping[str, Any], facts: Mapping[str, Any], scores: Mapping[str, float]) -> bool:
        """Write a checkpoint of the state as it is now; return whether it is the best so far.

        Raises CheckpointNotWritten, in the background at the next `save`, `wait` or `close`; WeightsNotFinite at once.
        """
        self.wait()
        score = self._score(scores)
        best_score = self._better(score, self.best_score)
        self.snapshot.take(state)
        self.number += 1
        one = Kept(self._free_path(facts), self.number, score, best_score)
        own = {"number": one.number, "scores": scores, "monitor": self.monitor, "best_score": best_score}
        written = copy.deepcopy({**facts, **own})  # the caller may change them while the thread writes
        is_best = score is not None and best_score != self.best_score
        if self.thread:
            self.writing = self.thread.submit(self._write, one, written)
        else:
            self._write(one, written)
        return is_best

    def wait(self) -> None:
        """Wait until the thread has written. Raises its error, once."""
        if writing := self.writing:
            wait([writing])  # Ctrl+C in here leaves it to `close`
            self.writing = None
            writing.result()

    def close(self) -> None:
        """Wait for the thread and end it. Raises its error."""
        try:
            self.wait()
        finally:
            if self.thread:
                self.thread.shutdown()

    def _write(self, one: Kept, facts: Mapping[str, Any]) -> None:
        try:
            if not self.folder.exists():
                self.folder.mkdir()
                sync_folder(self.folder.parent)
        except OSError as error:
            raise CheckpointNotWritten(f"{self.folder}: cannot be made: {error.strerror}") from error
        self.snapshot.write(one.path, facts)
        self.written(one.path)
        self.kept = [*self.kept, one]
        self.best_score = one.best_score
        self._prune()

    def _prune(self) -> None:
        """Remove all but the last and the best; the newest is on the disk by now, so there is no time with none."""
        kept = {*self.kept[-self.options.keep_last :], *self._ranked()[: self.options.keep_best]}
        self.kept = [one for one in self.kept if one in kept]
        paths = {one.path for one in kept}
        for path in self.folder.glob(_OURS):
            if path.with_suffix(".safetensors") not in paths:
                remove_checkpoint(path.with_suffix(".safetensors"))

    def _ranked(self) -> list[Kept]:
        """Return those with a score, best first, and of equal ones the oldest first."""
        scored = [one for one in self.kept if one.score is not None]
        return sorted(scored, key=lambda one: (-self.sign * (one.score or 0.0), one.number))

    def _better(self, score: float | None, other: float | None) -> float | None:
        """Return the better of two scores, `other` when they are equal; None is no score."""
        if score is None or other is None:
            return other if score is None else score
        return score if self.sign * score > self.sign * other else other

    def _free_path(self, facts: Mapping[str, Any]) -> Path:
        """Return a path where no checkpoint is: one from before a resume may have this epoch and step."""
        stem = f"epoch_{facts['epoch']:04d}_step_{facts['step']:08d}"
        path, count = self.folder / f"{stem}.safetensors", 1
        while manifest_path(path).exists():
            count += 1
            path = self.folder / f"{stem}_{count}.safetensors"
        return path

    def _found(self) -> list[Kept]:
        """Return the finished checkpoints in the folder, oldest first."""
        return [
            Kept(path, facts.get("number", 0), self._score(facts.get("scores", {})), self._best_score(facts))
            for path, facts in finished_checkpoints(self.folder)[0].items()
        ]

    def _score(self, scores: Mapping[str, float]) -> float | None:
        score = scores.get(self.monitor)
        return score if score is not None and math.isfinite(score) else None

    def _best_score(self, facts: Mapping[str, Any]) -> float | None:
        """Return the best score in a manifest, None where it is that of another monitored score."""
        return facts.get("best_score") if facts.get("monitor") == self.monitor else None


def find_checkpoint(place: Path, option: str) -> Path:
    """Return a checkpoint file: `place` itself, or the last one of a run folder. Raises ConfigError naming `option`."""
    if place.is_file():
        return place
    for folder in (place, place / "checkpoints"):
        finished, _ = finished_checkpoints(folder)
        if finished:
            return [*finished][-1]
    problem = "holds no finished checkpoint" if place.is_dir() else "there is no such file or folder"
    raise ConfigError(f"{option}: {place}: {problem}; give a .safetensors file or a run folder")
