"""Find the checkpoint that a path names: a file, or the best or last one of a run folder."""

from pathlib import Path
from typing import Any, Literal, get_args

from expkit.checkpoints.reader import Intact, first_intact, read_checkpoint
from expkit.core.errors import ConfigError
from expkit.core.manifest import CheckpointDamaged, finished_checkpoints
from expkit.core.user_folders import expanded

Which = Literal["best", "last", "newest"]  # last and newest are the same


def read_trained(place: Path, which: Which = "best") -> Intact:
    """Return the verified checkpoint of a file, a run folder or a folder of checkpoints. Raises ConfigError.

    A damaged one is skipped, with a sentence in `problems`: after the best one the newest is tried.
    """
    if which not in get_args(Which):
        raise ConfigError(f"checkpoint: expected one of {', '.join(get_args(Which))}, got {which!r}")
    place = expanded(place)
    if place.is_file():
        path = place.with_suffix(".safetensors") if place.suffix == ".json" else place
        try:
            return Intact(*read_checkpoint(path), path, [])
        except CheckpointDamaged as error:
            raise ConfigError(f"{error}; give another checkpoint") from error
    if not place.is_dir():
        raise ConfigError(f"{place}: there is no such file or folder; give a run folder or a .safetensors checkpoint")
    finished, problems = finished_checkpoints(place)
    if found := first_intact(_in_turn(finished, which), problems):
        return found
    reasons = f": {'; '.join(problems)}" if problems else ""
    raise ConfigError(f"{place}: holds no finished checkpoint{reasons}; give a run folder or a .safetensors file")


def _in_turn(finished: dict[Path, dict[str, Any]], which: Which) -> list[Path]:
    """Return the checkpoints in the order to try them."""
    newest_first = list(reversed(finished))
    if which != "best" or not newest_first:
        return newest_first
    newest = finished[newest_first[0]]
    monitor, best = newest.get("monitor"), newest.get("best_score")
    is_best = [best is not None and finished[path].get("scores", {}).get(monitor) == best for path in newest_first]
    chosen = [path for path, yes in zip(newest_first, is_best, strict=True) if yes]
    return [*reversed(chosen), *(path for path in newest_first if path not in chosen)]


def run_folders(place: Path) -> list[Path]:
    """Return the path if it is a run, else every run folder below it, by name. Raises ConfigError."""
    place = expanded(place)
    if place.is_file() or (place / "checkpoints").is_dir() or (place.is_dir() and any(place.glob("*.safetensors"))):
        return [place]
    found = sorted(folder.parent for folder in place.rglob("checkpoints") if any(folder.glob("*.safetensors")))
    if not found:
        problem = "no run folder with a checkpoint lies below it" if place.is_dir() else "there is no such folder"
        raise ConfigError(f"{place}: {problem}; give run folders, or a folder of them")
    return found
