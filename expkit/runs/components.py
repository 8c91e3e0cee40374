"""Build the objects of a run, one function per group of the config."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from expkit.config.registry import datasets, losses
from expkit.config.run_options import RunOptions
from expkit.core.errors import ConfigError, first_line
from expkit.core.manifest import read_manifest
from expkit.data import transforms as pixels
from expkit.data.class_names import by_known, differ
from expkit.data.dataset import ImageDataset
from expkit.data.mixing import Mixing, build_mixing
from expkit.inference import load_trained
from expkit.models import auxiliary_weight
from expkit.runs.setup import Config, Setup
from expkit.tasks.chosen_metrics import OutputFacts, build_metrics
from expkit.tasks.metric import Loss
from expkit.tasks.task import Task
from expkit.training.distillation import Teacher
from expkit.training.early_stopping import EarlyStopping
from expkit.training.loss_share import BatchLoss, LossShare
from expkit.training.losses import WithAuxiliary, chance_level
from expkit.training.metrics import EvalMetrics
from expkit.training.micro_batches import MicroBatches
from expkit.training.observers import Monitor
from expkit.training.train_state import RunLength
from expkit.training.watch import Scene, Score
from expkit.training.weight_averaging import Average, EqualAverage, ExponentialAverage, TorchvisionAverage


def build_loss(setup: Setup) -> nn.Module:
    """Build the loss, including that of auxiliary heads."""
    node, data, model = setup.config["loss"], setup.splits.train, setup.basis.model
    loss: nn.Module = losses.build(node, class_names=data.class_names, class_counts=class_counts(data), task=data.task)
    weight = auxiliary_weight(model)
    return WithAuxiliary(loss, weight) if weight else loss


def chance_of(setup: Setup, loss: nn.Module) -> float:
    """Return the loss of an untrained model, NaN with a teacher. Raises ConfigError if it does not fit the data."""
    data = setup.splits.train
    level = chance_level(loss, len(data.class_names), data.task)
    return math.nan if "teacher" in setup.config["loss"] else level


def build_batch_loss(
    setup: Setup, loss: nn.Module, teacher: Teacher | None, micro_batches: MicroBatches | None
) -> BatchLoss:
    """Build the loss of a batch, of a rank's part of it, or of its micro-batches."""
    loss = loss.to(setup.device.torch_device)
    if not (setup.ranks or micro_batches):
        return BatchLoss(loss, teacher)
    may_lose = bool(setup.ranks) and datasets.shared(setup.config["dataset"]).on_bad == "skip"
    return LossShare(loss, teacher, setup.ranks, may_lose, setup.image_size)


def build_eval_metrics(setup: Setup) -> EvalMetrics:
    """Build the metrics of validation, those of the task and those that the config chooses. Raises ConfigError."""
    metrics, facts = setup.task.metrics(), OutputFacts(setup.task.kind, setup.task.info.outputs)
    chosen = build_metrics(setup.config.get("metric", {}), facts, ["loss", *(one.name for one in metrics)])
    return EvalMetrics(metrics, setup.device.torch_device, setup.ranks, chosen, facts.answers)


def build_scene(setup: Setup, model: nn.Module) -> Scene:
    """Build the scene that watchers see."""
    val, normalize, size = setup.splits.val, setup.basis.normalize, (setup.image_size, setup.image_size)
    assert val is not None
    names, statistics = val.class_names, setup.task.info.statistics
    return Scene(model, normalize.mean, normalize.std, names, val.task, val.sample_name, size, statistics)


def build_teacher(setup: Setup) -> Teacher | None:
    """Load the teacher of loss=distill, None for other losses. Raises ConfigError."""
    node, data, device, normalize = setup.config["loss"], setup.splits.train, setup.device, setup.basis.normalize
    if "teacher" not in node:
        return None
    try:
        trained = load_trained(node["teacher"], "best", "cpu", "fp32")
    except ConfigError as error:
        raise ConfigError(*(f"loss.teacher: {fault}" for fault in error.faults)) from error
    if trained.task.form != "classes":
        raise ConfigError(f"loss.teacher: {trained.path} is a model for {trained.task.kind}; give one for classes")
    device.activate()  # loading it has set its own threads and precision
    known = by_known(data.class_names, trained.classes)
    if sorted(trained.classes) != sorted(known.values()):
        shown = differ(trained.classes, "it", data.class_names, "the data")
        raise ConfigError(f"loss.teacher: {trained.path} has other classes ({shown}); use one with the same")
    order = [trained.classes.index(known[name]) for name in data.class_names]
    mean, std, its_mean, its_std = map(
        torch.tensor, (normalize.mean, normalize.std, trained.normalize.mean, trained.normalize.std)
    )
    scale, shift = (one.to(device.torch_device) for one in (std / its_std, (mean - its_mean) / its_std))
    return Teacher(device.place(trained.model), order, scale, shift, read_manifest(trained.path)["sha256"])


def build_batch_mixing(setup: Setup, loss: nn.Module) -> Mixing | None:
    """Build the mixing of a batch's images. Raises ConfigError if the loss does not accept soft targets."""
    data = setup.splits.train
    num_classes = len(data.class_names)
    mixing = build_mixing(setup.config["transforms"].get("batch", []), num_classes, data.task)
    if mixing is None:
        return None
    try:
        loss(torch.zeros(2, num_classes), torch.full((2, num_classes), 1 / num_classes))
    except (RuntimeError, ValueError, TypeError) as error:
        problem = f"mixes labels, and the loss {setup.config['loss']['name']} needs hard labels ({first_line(error)})"
        raise ConfigError(f"transforms.batch: {problem}; use loss=cross_entropy or transforms.batch=[]") from error
    return mixing


def class_counts(data: ImageDataset) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return (C,) the number of samples of each class."""
    if data.targets.ndim == 2:
        return np.asarray(data.targets.sum(axis=0), dtype=np.int64)
    return np.bincount(data.targets.astype(np.int64), minlength=len(data.class_names))


def facts_of(setup: Setup, teacher: Teacher | None) -> dict[str, Any]:
    """Return the facts about the model for checkpoints."""
    data, config, basis = setup.splits.train, setup.config, setup.basis
    facts = {
        "class_names": list(data.class_names),
        "task": data.task,
        "model": dict(config["model"]),
        "samples": len(data),
        "deep_range": data.decoder.deep_range,
        "config": dict(config),
        "transforms": pixels.resolved(config["transforms"], basis.sizes, basis.normalize),
    }
    if statistics := setup.task.info.statistics:
        facts["statistics"] = {name: list(values) for name, values in statistics.items()}
    return facts | ({"teacher_sha256": teacher.digest} if teacher else {})


def build_average(model: nn.Module, options: RunOptions, length: RunLength, warmup_steps: int) -> Average | None:
    """Build the average of the weights, None without one. Raises ConfigError."""
    if options.swa_from is not None:
        if options.ema_decay is not None:
            raise ConfigError("swa_from: a run has one average of its weights; set ema_decay=null or swa_from=null")
        first = round(options.swa_from * length.last_step)
        return EqualAverage(model, first, length.steps_per_epoch, length.last_step)
    if options.ema_decay is None:
        return None
    if options.ema_rule == "bounded":
        return ExponentialAverage(model, options.ema_decay, options.ema_every)
    images, copied = options.batch_size * options.accumulate_steps, warmup_steps / length.steps_per_epoch
    return TorchvisionAverage(
        model, options.ema_decay, options.ema_every, images, options.epochs, length.steps_per_epoch, copied
    )


def build_stopping(options: RunOptions, monitor: Monitor) -> EarlyStopping | None:
    """Build early stopping, None without it."""
    if options.early_stopping_patience is None:
        return None
    return EarlyStopping(options.early_stopping_patience, options.early_stopping_min_delta, monitor.higher_is_better)


def choose_monitor(setup: Setup, names: Mapping[str, bool | None], watched: Mapping[str, Score]) -> Monitor:
    """Return the score that decides which epoch is best. Raises ConfigError.

    names: scores of validation, with their directions. watched: scores of watchers.
    """
    node = setup.config["checkpoint"]
    if not setup.splits.val:
        return _monitor_of_training(node, setup.task)
    known = {**{name: score.higher_is_better for name, score in watched.items()}, **names}
    monitor = str(node.get("monitor") or next(iter(names)))
    monitor = monitor if monitor in known else monitor.removeprefix("val/")
    given = node.get("higher_is_better")
    if monitor not in known and given is None:
        remedy = "for a value of a watcher, add +checkpoint.higher_is_better=true or false"
        raise ConfigError(f"checkpoint.monitor: there is no score '{monitor}'; there is {', '.join(known)} ({remedy})")
    if monitor not in names and monitor in watched and (every := watched[monitor].every) > 1:
        path = f"watch.{watched[monitor].watcher}.every"
        raise ConfigError(f"checkpoint.monitor: '{monitor}' is measured every {every} epochs; set {path}=1")
    higher = known.get(monitor) if given is None else bool(given)
    if higher is None:
        remedy = "add +checkpoint.higher_is_better=true or false"
        raise ConfigError(f"checkpoint.monitor: '{monitor}' does not say which way is better; {remedy}")
    return Monitor(monitor, higher)


def _monitor_of_training(node: Config, task: Task) -> Monitor:
    """Return the score of training that early stopping and schedules go by where there are no validation images."""
    monitor = str(node.get("monitor") or "loss").removeprefix("train/").removeprefix("val/")
    scores = {one.name: one.higher_is_better for one in (Loss(), *task.training_metrics())}
    if monitor not in scores:
        known = f"there is {', '.join(scores)}, of training"
        raise ConfigError(f"checkpoint.monitor: there is no score '{monitor}' without validation images; {known}")
    return Monitor(monitor, bool(scores[monitor]))
