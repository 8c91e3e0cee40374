"""Resume a run: find the checkpoint that checkpoint.resume names, and check that the config fits it."""

import glob
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from expkit.checkpoints.manager import CheckpointOptions, find_checkpoint
from expkit.checkpoints.reader import newest_intact, read_checkpoint
from expkit.config.diff import Difference, differences
from expkit.config.redaction.redactor import Redactor
from expkit.config.registry import checkpoints
from expkit.core.errors import ConfigError
from expkit.core.formatting import count_noun
from expkit.core.lock import FolderLock
from expkit.core.manifest import CheckpointDamaged, finished_checkpoints
from expkit.core.run_folder import check_kinds, is_run_folder
from expkit.core.user_folders import expanded
from expkit.data.deep import SIXTEEN_BITS
from expkit.devices import Ranks
from expkit.records.run_folder import RunFolder

Config = Mapping[str, Any]


@dataclass
class Origin:
    """What a run resumes from.

    folder: the locked run folder to resume in; None for a new one. state, facts: of the checkpoint; None if the run was
    killed before its first. metrics: the file of points, kept up to the checkpoint. notes: sentences for the user.
    is_finished: the run has nothing left to do.
    """

    folder: Path | None = None
    lock: FolderLock | None = None
    path: Path | None = None
    state: dict[str, Any] | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    metrics: Path | None = None
    notes: list[str] = field(default_factory=list)
    is_finished: bool = False

    def release(self) -> None:
        """Release the folder's lock if the run is refused before it starts."""
        if self.lock:
            self.lock.release()


def find_origin(config: Config) -> Origin:
    """Return what checkpoint.resume names, verified; an empty Origin for a new run. Raises ConfigError."""
    options: CheckpointOptions | None = checkpoints.build(config["checkpoint"])
    if options is None or options.resume is None:
        return Origin()
    if options.resume == "auto":
        if folder := _latest_run(config):
            return _in_folder(folder, config, options.force)
        return Origin(notes=["no run to resume: starts a new one"])
    place = expanded(options.resume)
    if is_run_folder(place):
        return _in_folder(place, config, options.force)
    path = find_checkpoint(place, "checkpoint.resume")
    try:
        state, facts = read_checkpoint(path)
    except CheckpointDamaged as error:
        raise ConfigError(f"checkpoint.resume: {error}; choose another one") from error
    metrics = path.parent.parent / "metrics.jsonl"
    origin = Origin(path=path, state=state, facts=facts, metrics=metrics if metrics.is_file() else None)
    _admit(origin, config, options.force)
    return origin


def shared_origin(config: Config, ranks: Ranks) -> Origin:
    """Return on every rank what rank 0 finds, which holds the folder's lock. Raises its ConfigError on every rank."""
    found: list[Origin] = []

    def find() -> tuple[list[str | None], dict[str, Any], list[str], bool]:
        origin = find_origin(config)
        found.append(origin)
        places = [str(place) if place else None for place in (origin.folder, origin.path)]
        return places, origin.facts, origin.notes, origin.is_finished

    places, facts, notes, is_finished = ranks.decided_by_first(find)
    if found:
        return found[0]
    folder, path = (Path(place) if place else None for place in places)
    state = read_checkpoint(path)[0] if path else None
    return Origin(folder, None, path, state, facts, None, notes, is_finished)


def nothing_left(folder: Path | None, config: Config) -> str:
    """Return the message on a finished run, with the options that set its end."""
    ends = " and ".join(f"{key}={config[key]}" for key in ("epochs", "max_steps") if config[key] is not None)
    return f"{folder}: this run is finished; nothing is left to do (raise {ends} to train longer)"


def folder_to_resume(config: Config) -> Path | None:
    """Return the run folder that checkpoint.resume names, without reading it; None for a new one."""
    place = config["checkpoint"].get("resume")
    if place == "auto":
        return _latest_run(config)
    folder = expanded(place) if place else None
    return folder if folder and is_run_folder(folder) else None


def run_name(config: Config) -> str:
    """Return the beginning of the run folder's name."""
    model = str(config["model"]["name"]).replace("/", "-")  # timm/resnet18
    return str(config.get("name") or f"{config['dataset']['name']}-{model}")


def _latest_run(config: Config) -> Path | None:
    """Return the newest run folder whose config computes the same, None without one."""
    parent = expanded(config["output_dir"])
    folders = [path for path in parent.glob(f"{glob.escape(run_name(config))}_*") if is_run_folder(path)]
    for folder in sorted(folders, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        theirs = _config_of(folder)
        if theirs is not None and all(one.kind == "free" for one in differences(theirs, Redactor().value(config))):
            return folder
    return None


def _config_of(folder: Path) -> Config | None:
    """Return the config in a run folder, or of its newest checkpoint if that is lost; None without either."""
    if config := RunFolder(folder).config:
        return config
    finished, _ = finished_checkpoints(folder)
    kept = Redactor().value([*finished.values()][-1].get("config")) if finished else None
    return kept if isinstance(kept, dict) else None


def refuse_other_range(path: Path | None, facts: Mapping[str, Any], ours: Any) -> None:
    """Raise ConfigError if images of more than 8 bits had another value range. ours: None without such images."""
    theirs = facts.get("deep_range") or SIXTEEN_BITS
    if ours is not None and [*ours] != [*theirs]:
        before, now = (f"{low:g} to {high:g}" for low, high in (theirs, ours))
        raise ConfigError(
            f"checkpoint.resume: {path} was trained on the values {before} of images with more than 8 bits, this run"
            f" {now}; add dataset.deep_range=[{theirs[0]:g},{theirs[1]:g}]"
        )


def _in_folder(folder: Path, config: Config, force: bool) -> Origin:
    """Lock a run folder and return its newest intact checkpoint. Raises ConfigError, FolderInUse."""
    check_kinds(folder, "checkpoint.resume")
    origin = Origin(folder, FolderLock(folder), metrics=folder / "metrics.jsonl")
    assert origin.lock is not None
    try:
        if origin.lock.recovered:
            origin.notes.append(origin.lock.recovered)
        found = newest_intact(folder / "checkpoints")
        if found is None:
            if any(event.get("event") == "checkpoint" for event in RunFolder(folder).events):
                raise ConfigError(
                    f"checkpoint.resume: the checkpoints of {folder} are gone, so there is nothing to resume from;"
                    " remove checkpoint.resume to start a new run, or move that folder away"
                )
            origin.notes.append(f"{folder} holds no checkpoint yet: starts from the beginning")
            return origin
        origin.state, origin.facts, origin.path, problems = found
        origin.notes += [f"warning: skipped a damaged checkpoint: {problem}" for problem in problems]
        changed = _admit(origin, config, force)
        same_end = not any(one.key in ("epochs", "max_steps") or one.kind != "free" for one in changed)
        origin.is_finished = same_end and RunFolder(folder).status == "finished"
    except CheckpointDamaged as error:
        origin.lock.release()
        raise ConfigError(f"checkpoint.resume: {error}; resume an older run, or start a new one") from error
    except BaseException:
        origin.lock.release()
        raise
    return origin


def _admit(origin: Origin, config: Config, force: bool) -> list[Difference]:
    """Return the differences of the configs, and note them. Raises ConfigError for those not allowed."""
    within = bool(origin.facts.get("batch"))
    changed = differences(origin.facts.get("config", {}), config, within)
    changed = [one for one in changed if not one.key.startswith("checkpoint.") or one.kind != "free"]
    if refused := [*_refusals(changed, force)]:
        raise ConfigError(*(f"checkpoint.resume: {origin.path}: {sentence}" for sentence in refused))
    origin.notes += [f"differs from the checkpoint: {one}" for one in changed]
    return changed


def _refusals(changed: list[Difference], force: bool) -> Iterator[str]:
    for one in changed:
        if one.kind == "never" and one.key.endswith(".name"):
            yield f"{one} cannot change in a run; checkpoint.init_from takes only the weights, into a new run"
        elif one.kind == "never":
            yield f"{one} cannot change within an epoch; resume from a checkpoint at an epoch's end"
        elif one.kind == "forced" and not force:
            yield f"{one} changes the result; checkpoint.force=true resumes anyway"


def rate_notes(before: Config, config: Config, optimizer: Mapping[str, Any], rate: float, last_step: int) -> list[str]:
    """Return a note if the learning rate rises because the schedule has another length than before.

    before: the checkpoint's config; optimizer: its state; rate: of the next step.
    """
    if all(config.get(name) == before.get(name) for name in ("epochs", "max_steps")):
        return []
    groups = optimizer.get("param_groups")
    old = groups[0].get("lr") if isinstance(groups, list) and groups else None
    if not isinstance(old, float) or rate <= 1.01 * old:
        return []
    name = config["schedule"]["name"]
    return [
        f"note: the learning rate rises from {old:.2g} to {rate:.2g} here: schedule={name} now spans all"
        f" {count_noun(last_step, 'step')}"
    ]


def weights_problem(model: nn.Module, state: Mapping[str, torch.Tensor]) -> str:
    """Return why saved weights do not fit a model, "" if they do."""
    own = model.state_dict()
    if missing := [name for name in own if name not in state]:
        return f"it lacks {', '.join(missing[:3])}"
    if surplus := [name for name in state if name not in own]:
        return f"it also has {', '.join(surplus[:3])}"
    for name, value in own.items():
        if value.shape != state[name].shape:
            return f"{name} is {tuple(state[name].shape)} there and {tuple(value.shape)} here"
    return ""
