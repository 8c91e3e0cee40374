"""The wiring, in reading order: a checked config becomes data sets, a model, its optimizer, and a Trainer."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from expkit.checkpoints.foreign_weights import read_weights
from expkit.checkpoints.manager import CheckpointManager, CheckpointOptions, Checkpoints, find_checkpoint
from expkit.config.registry import checkpoints as checkpoint_registry
from expkit.config.registry import loggers
from expkit.core.errors import ConfigError, first_line
from expkit.core.formatting import count_noun
from expkit.core.manifest import CheckpointDamaged, read_manifest
from expkit.core.user_folders import expanded
from expkit.data.class_names import are_same, differ
from expkit.data.dataset import Splits
from expkit.data.labels import unique_names
from expkit.devices import Ranks
from expkit.loggers.base import LazyLogger
from expkit.loggers.hub import LoggerHub
from expkit.models import load_matching
from expkit.runs.batch_sizes import check_single_images
from expkit.runs.check import check
from expkit.runs.components import (
    build_batch_loss,
    build_batch_mixing,
    build_eval_metrics,
    build_loss,
    build_scene,
    build_stopping,
    build_teacher,
    chance_of,
    choose_monitor,
    facts_of,
)
from expkit.runs.distribute import DistributedModel, build_micro_batches, distribute, distribute_average
from expkit.runs.heading import heading
from expkit.runs.job import Job
from expkit.runs.loaders import build_loaders, build_orders
from expkit.runs.resume import Origin, find_origin, rate_notes, refuse_other_range, weights_problem
from expkit.runs.setup import Basis, Config, Setup, set_up
from expkit.training.evaluation import Evaluator
from expkit.training.losses import Guessing
from expkit.training.metrics import TrainMetrics
from expkit.training.micro_batches import MicroBatches
from expkit.training.observers import Hook, Monitor, Observers
from expkit.training.optimizers import unfreezing
from expkit.training.schedules import build_schedule, plateau_notes
from expkit.training.signals import AgreedInterruption, Interruption
from expkit.training.step import StepKeys, TrainStep
from expkit.training.train_state import RunLength, TrainState, run_length
from expkit.training.trainer import Trainer
from expkit.training.watch import WatchDispatcher, build_watchers


def build(
    config: Config, origin: Origin | None = None, ranks: Ranks | None = None, splits: Splits | None = None,
    basis: Basis | None = None, hooks: Sequence[Hook] = (),
) -> Job:  # fmt: skip
    """Build all objects of a checked config; write nothing but data sets. Raises ConfigError.

    origin: what the run resumes from; None: what checkpoint.resume names. ranks: the processes of the run. splits,
    basis: of an earlier job with the same.
    """
    checked = check(config)
    origin = origin or find_origin(checked)
    setup = set_up(checked, ranks, splits, basis)
    loss = build_loss(setup)
    mixing = build_batch_mixing(setup, loss)
    orders = build_orders(setup)
    check_single_images(setup, len(orders[0]))
    train_loader, val_loader = build_loaders(setup, orders)
    length = run_length(len(train_loader), setup.options)
    chance, teacher = chance_of(setup, loss), build_teacher(setup)
    logger, interruption = LoggerHub(), AgreedInterruption(ranks) if ranks else Interruption()
    placed = distribute(setup, logger.message)
    micro_batches = build_micro_batches(setup, placed, logger.message)
    watchers = build_watchers(checked["watch"], setup.task.kind, placed.is_sharded, not ranks or ranks.is_first)
    watch = WatchDispatcher(logger, interruption, build_scene(setup, placed.model), watchers.chosen)
    metrics = build_eval_metrics(setup)
    monitor = choose_monitor(setup, {**metrics.of_task, **metrics.of_config}, watchers.scores)
    state = build_state(setup, placed, length, monitor, facts_of(setup, teacher), micro_batches)
    step = TrainStep(
        setup.task, placed.model, placed.forward, build_batch_loss(setup, loss, teacher, micro_batches),
        setup.basis.normalize.to(setup.device.torch_device), setup.device,
        StepKeys(setup.options.seed, ranks.rank if ranks else 0), watch, mixing, state.scaler, micro_batches, ranks,
    )  # fmt: skip
    evaluator = Evaluator(step, placed.inference, val_loader, metrics)
    observers = Observers(logger, watch, interruption, monitor, Guessing(chance), hooks)
    trainer = Trainer(state, step, train_loader, evaluator, observers, setup.options, length)
    splits = replace(setup.splits, notes=[*setup.splits.notes, *orders[1].notes])
    notes = [*splits.notes, setup.basis.note, *orders[0].notes, *watchers.notes, *state.schedule.notes]
    job = Job(checked, setup.options, splits, trainer, origin, heading(setup, trainer), notes)
    job.notes += load_origin(job)
    return job


def build_state(
    setup: Setup, placed: DistributedModel, length: RunLength, monitor: Monitor, facts: dict[str, Any],
    micro_batches: MicroBatches | None,
) -> TrainState:  # fmt: skip
    """Build what a checkpoint holds. Raises ConfigError."""
    config, options = setup.config, setup.options
    if options.on_nan == "roll_back" and config["checkpoint"]["name"] == "none":
        raise ConfigError("on_nan: roll_back returns to a checkpoint, and checkpoint=none writes none; use on_nan=skip")
    schedule = build_schedule(config["schedule"], placed.optimizer, length.steps_per_epoch, length.last_step)
    schedule.notes += plateau_notes(schedule, monitor.name, monitor.higher_is_better)
    return TrainState(
        placed.model, placed.optimizer, schedule, TrainMetrics(setup.task.training_metrics(), setup.ranks), facts,
        distribute_average(setup, placed, length, schedule.warmup.steps), build_stopping(options, monitor),
        setup.device.scaler(), micro_batches, unfreezing(config["optimizer"], placed.model), placed.is_sharded,
    )  # fmt: skip


def load_origin(job: Job) -> list[str]:
    """Load a whole state (resume) or weights alone (init_from) into a job; return notes. Raises ConfigError."""
    options: CheckpointOptions | None = checkpoint_registry.build(job.config["checkpoint"])
    origin, names = job.origin, job.splits.train.class_names
    if origin.state is not None:
        return [*origin.notes, *_resume(job, origin.state)]
    if options is None or not options.init_from:
        return origin.notes
    path = find_checkpoint(expanded(options.init_from), "checkpoint.init_from")
    same = None
    with suppress(CheckpointDamaged):  # files of other programs have no manifest; ours are verified below
        same = are_same(unique_names(read_manifest(path).get("class_names", [])), names)
    weights, part = read_weights(path)
    report = load_matching(job.trainer.state.model, weights, same, len(names))
    return [*origin.notes, *(f"{note} ({path})" for note in [part, *report.notes()] if note)]


def _resume(job: Job, saved: dict[str, Any]) -> list[str]:
    """Check that data and model are the checkpoint's, load its state, and return notes. Raises ConfigError."""
    path, facts, trainer = job.origin.path, job.origin.facts, job.trainer
    state, model = trainer.state, job.config["model"]["name"]
    ours, theirs = job.splits.train.class_names, unique_names(facts.get("class_names", []))
    if not are_same(ours, theirs):
        difference = differ(theirs, str(path), ours, "the data")
        raise ConfigError(f"checkpoint.resume: the classes differ: {difference}")
    if facts.get("samples", len(job.splits.train)) != len(job.splits.train):
        counts = f"{count_noun(facts['samples'], 'image')} to train on, the data now {len(job.splits.train):,}"
        raise ConfigError(
            f"checkpoint.resume: the data differ: {path} had {counts}; checkpoint.init_from starts a new run"
        )
    refuse_other_range(path, facts, state.facts["deep_range"])
    if facts.get("teacher_sha256") != state.facts.get("teacher_sha256"):
        raise ConfigError(f"checkpoint.resume: {path} was trained with another teacher; set its loss.teacher")
    if problem := weights_problem(state.model, saved["model"]):
        raise ConfigError(f"checkpoint.resume: {path} does not fit {model}: {problem}")
    try:
        trainer.load_state_dict(saved)
    except Exception as error:  # of torch's many load_state_dict, which raise anything
        raise ConfigError(
            f"checkpoint.resume: the state in {path} does not fit this config: {first_line(error)};"
            " checkpoint.init_from takes the weights alone"
        ) from error
    note = f"resumes from {path} (epoch {state.position.epoch + 1}, step {state.position.step})"
    rate, steps = state.learning_rate, trainer.length.last_step
    return [note, *rate_notes(facts.get("config", {}), job.config, saved["optimizer"], rate, steps)]


def open_loggers(config: Config, folder: Path) -> list[Any]:
    """Build the config's loggers; those of plugins are built in their own threads."""
    opened = []
    for name, node in config["logger"].items():
        build = partial(loggers.build, node, f"logger.{name}", folder=folder, run_name=folder.name)
        ours = loggers.entry(node["name"]).factory.__module__.startswith("expkit.")
        opened.append(build() if ours else LazyLogger(name, build))
    return opened


def open_checkpoints(job: Job, folder: Path, written: Callable[[Path], object]) -> CheckpointManager | None:
    """Open the checkpoints of a run folder; None for checkpoint=none. written: called with each finished one."""
    options: CheckpointOptions | None = checkpoint_registry.build(job.config["checkpoint"])
    if options is None:
        return None
    monitor = job.trainer.observers.monitor
    kept = CheckpointManager(folder / "checkpoints", monitor.name, monitor.higher_is_better, options, written)
    if job.origin.state is not None:
        kept.resume(job.origin.facts)
    return kept


def follow_checkpoints(job: Job, folder: Path) -> Checkpoints | None:
    """Return the checkpoints of a run folder for a rank that writes none."""
    options: CheckpointOptions | None = checkpoint_registry.build(job.config["checkpoint"])
    return Checkpoints(folder / "checkpoints", options) if options else None
