"""The wiring, in reading order: a checked config becomes datasets, a model, what trains it, and a Trainer."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from expkit.checkpoints import (
    CheckpointDamaged,
    CheckpointManager,
    CheckpointOptions,
    FollowedCheckpoints,
    read_weights,
)
from expkit.checkpoints.manager import find_weights
from expkit.config.registry import GROUPS, loggers
from expkit.config.registry import checkpoints as checkpoint_words
from expkit.config.run_options import RunOptions
from expkit.core.errors import ConfigError
from expkit.core.formatting import count_noun
from expkit.core.manifest import read_manifest
from expkit.core.user_folders import expanded
from expkit.data import transforms as pixels
from expkit.data.class_names import are_same, differ
from expkit.data.dataset import Splits
from expkit.data.datasets import load
from expkit.data.labels import unique_names
from expkit.data.mixing import build_mixing
from expkit.devices import Ranks
from expkit.loggers import LazyLogger
from expkit.models import pretrained_input, take_weights
from expkit.runs.batch_sizes import check_single_images
from expkit.runs.components import (
    add_extras,
    add_teacher,
    build_average,
    build_device,
    build_input,
    build_loss,
    build_model,
    build_training,
    check_chains,
    check_mixing,
)
from expkit.runs.distribute import shard_average, spread
from expkit.runs.heading import heading
from expkit.runs.job import Job
from expkit.runs.loaders import build_loaders, build_orders
from expkit.runs.resume import Origin, find_origin, rate_notes, refuse_other_range, weights_problem
from expkit.training.schedules import build_schedule
from expkit.training.step import Parts
from expkit.training.trainer import Trainer
from expkit.training.watch import Scene, build_watch

Config = Mapping[str, Any]
_NOT_SCALARS = {*GROUPS, "experiment"}


@dataclass(frozen=True)
class Basis:
    """What of a job neither its seed nor its training options change: the transforms' chains, and the model."""

    sizes: tuple[int, int]
    normalize: pixels.Normalize
    note: str
    chains: Mapping[str, pixels.Chain]
    model: nn.Module
    seen: tuple[int, int]  # (height, width) of what the model sees in training


def build_basis(config: Config, splits: Splits, seed: int) -> Basis:
    """Build the transforms and the model, and try them on an image. Raises ConfigError."""
    spec = pretrained_input(config["model"])
    sizes, normalize, note = build_input(config["transforms"], spec, splits.train)
    chains = {split: pixels.build_chain(config["transforms"][split], *sizes) for split in ("train", "eval")}
    model = build_model(config["model"], splits.train, seed)
    seen = check_chains(chains, splits.train, model, config["model"]["name"], seed)
    return Basis(sizes, normalize, note, chains, model, seen)


def assemble(
    config: Config, origin: Origin | None = None, load: Callable[[Config], Splits] = load,
    build_basis: Callable[[Config, Splits, int], Basis] = build_basis, ranks: Ranks | None = None,
) -> Job:  # fmt: skip
    """Build all objects of a checked config. Raises ConfigError; nothing has been written by then but data sets.

    origin: what the run goes on from; None: what checkpoint.resume names. load, build_basis: for jobs that share some.
    ranks: those that do the run.
    """
    origin = origin or find_origin(config)
    options = RunOptions.of({name: value for name, value in config.items() if name not in _NOT_SCALARS})
    device = build_device(config["device"], ranks)
    # A set that is drawn, or downloaded, is there once the first rank has it.
    splits = ranks.first_before_others(lambda: load(config["dataset"])) if ranks else load(config["dataset"])
    basis = build_basis(config, splits, options.seed)
    model, normalize = basis.model, basis.normalize
    loss = build_loss(config["loss"], splits.train, model)
    mixing = build_mixing(config["transforms"].get("batch", []), len(splits.train.class_names), splits.train.task)
    check_mixing(mixing, loss, config["loss"]["name"], len(splits.train.class_names))
    orders = build_orders(config["sampler"], splits, options)
    splits = replace(splits, notes=[*splits.notes, *orders[1].notes])
    check_single_images(basis.model, basis.seen, config, options, len(orders[0]), ranks)
    train, val = build_loaders(config["dataset"], splits, basis.chains, orders, options, device, ranks)
    parts = build_training(config, options, device, model, normalize, loss, train, val, splits.train, ranks)
    parts.facts["transforms"] = pixels.resolved(config["transforms"], basis.sizes, normalize)
    parts.mixing = mixing
    add_teacher(parts, config["loss"], splits.train, normalize)
    spread(parts, config, basis.sizes[0])
    runner = Trainer(parts, options)
    parts.schedule = build_schedule(config["schedule"], parts.optimizer, runner.steps_per_epoch, runner.last_step)
    parts.average = build_average(parts, options, runner.steps_per_epoch, runner.last_step)
    shard_average(parts)
    scene, is_first = scene_of(parts, splits, basis.sizes[0]), not ranks or ranks.is_first
    parts.watch = build_watch(config["watch"], scene, parts.is_shared_out, is_first)
    higher = add_extras(parts, options, config["checkpoint"], splits.train)
    job = Job(config, options, splits, parts, runner, higher, origin)
    job.lines = heading(config, splits, parts, runner)
    job.notes = [*splits.notes, basis.note, *orders[0].notes, *parts.watch.notes, *parts.schedule.notes]
    job.notes += begin(job, origin)
    return job


def scene_of(parts: Parts, splits: Splits, side: int) -> Scene:
    """Return what watchers look at. side: pixels, of the model's input."""
    val, normalize = splits.val, parts.normalize
    assert val is not None and isinstance(normalize, pixels.Normalize)  # noqa: PT018
    names, size = val.class_names, (side, side)
    return Scene(parts.model, normalize.mean, normalize.std, names, val.task, val.sample_name, size)


def begin(job: Job, origin: Origin) -> list[str]:
    """Take a whole state (resume) or weights alone (init_from) into a job; returns notes. Raises ConfigError."""
    options: CheckpointOptions | None = checkpoint_words.build(job.config["checkpoint"])
    if origin.state is not None:
        return [*origin.notes, *_go_on(job, origin, origin.state)]
    if options is None or not options.init_from:
        return origin.notes
    path = find_weights(expanded(options.init_from))
    same = None
    with suppress(CheckpointDamaged):  # a file of other programs has no manifest; one of ours is verified below
        same = are_same(unique_names(read_manifest(path).get("class_names", [])), job.splits.train.class_names)
    weights, part = read_weights(path)
    taken = take_weights(job.parts.model, weights, same, len(job.splits.train.class_names))
    return [*origin.notes, *(f"{note} ({path})" for note in [part, *taken.notes()] if note)]


def _go_on(job: Job, origin: Origin, state: dict[str, Any]) -> list[str]:
    """Check that data and model are those of the checkpoint, then take up its state; returns notes.

    Raises ConfigError.
    """
    path, facts, model = origin.path, origin.facts, job.config["model"]["name"]
    ours, theirs = job.splits.train.class_names, unique_names(facts.get("class_names", []))
    if not are_same(ours, theirs):
        told = differ(theirs, str(path), ours, "the data")
        raise ConfigError(f"checkpoint.resume: the classes differ: {told}")
    if facts.get("samples", len(job.splits.train)) != len(job.splits.train):
        counts = f"{count_noun(facts['samples'], 'image')} to train on, the data now {len(job.splits.train):,}"
        raise ConfigError(f"checkpoint.resume: the data differ: {path} had {counts}; checkpoint.init_from starts anew")
    refuse_other_range(path, facts, job.parts.facts["deep_range"])
    if facts.get("teacher_sha256") != job.parts.facts.get("teacher_sha256"):
        raise ConfigError(f"checkpoint.resume: {path} was taught by another teacher; give its loss.teacher")
    if problem := weights_problem(job.parts.model, state["model"]):
        raise ConfigError(f"checkpoint.resume: {path} does not fit {model}: {problem}")
    try:
        job.runner.load_state_dict(state)
    except (KeyError, ValueError, RuntimeError, TypeError) as error:  # of torch's many load_state_dict
        problem = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"checkpoint.resume: the state in {path} does not fit this config: {problem};"
            " checkpoint.init_from takes the weights alone"
        ) from error
    note = f"goes on from {path} (epoch {job.runner.epoch + 1}, step {job.runner.step})"
    rate, steps = float(job.parts.optimizer.param_groups[0]["lr"]), job.runner.last_step
    return [note, *rate_notes(facts.get("config", {}), job.config, state["optimizer"], rate, steps)]


def open_loggers(config: Config, folder: Path) -> list[Any]:
    """Build the loggers that the config chooses; those of plugins are built by their own threads."""
    opened = []
    for name, node in config["logger"].items():
        build = partial(loggers.build, node, f"logger.{name}", folder=folder, run_name=folder.name)
        ours = loggers.entry(node["name"]).factory.__module__.startswith("expkit.")
        opened.append(build() if ours else LazyLogger(name, build))
    return opened


def open_checkpoints(job: Job, folder: Path) -> CheckpointManager | None:
    options: CheckpointOptions | None = checkpoint_words.build(job.config["checkpoint"])
    if options is None:
        return None
    if job.parts.ranks and not job.parts.ranks.is_first:
        return FollowedCheckpoints(folder / "checkpoints", job.parts.monitor, options.every, options.every_steps)
    kept = CheckpointManager(
        folder / "checkpoints", job.parts.monitor, job.higher_is_better, options.every,
        options.keep_last, options.keep_best, options.background, options.every_steps,
    )  # fmt: skip
    if job.origin.state is not None:
        kept.go_on(job.origin.facts)
    return kept
