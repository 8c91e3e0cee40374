"""One function per group of the config: from its checked node to the objects that a run is made of."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from expkit.config.registry import devices, losses, models
from expkit.config.run_options import RunOptions
from expkit.core.errors import ConfigError
from expkit.core.manifest import read_manifest
from expkit.core.seeding import derive_seed, seed_cpu
from expkit.data import transforms as pixels
from expkit.data.class_names import by_known, differ
from expkit.data.dataset import ImageDataset
from expkit.data.decode import BadImage
from expkit.data.growth import reason_against
from expkit.data.labels import check_image
from expkit.data.loader import Loader
from expkit.data.mixing import Mixing
from expkit.devices import Device, Layout, Ranks, Split
from expkit.inference import load_trained
from expkit.models import InputSpec, auxiliary_weight, check_input, prepare
from expkit.models.planned import refuse_too_large
from expkit.models.pretrained import without_pretrained
from expkit.training.distillation import Teacher
from expkit.training.early_stopping import EarlyStopping
from expkit.training.losses import WithAuxiliary, chance_level
from expkit.training.metrics import TRAINING_SCORES, EvalMetrics, TrainMetrics, metric_names
from expkit.training.non_finite import Buffers
from expkit.training.optimizers import build_optimizer, unfreezing
from expkit.training.schedules import plateau_notes
from expkit.training.step import Parts
from expkit.training.watch import Watch
from expkit.training.weight_averaging import Average, EqualAverage, ExponentialAverage, TorchvisionAverage

Config = Mapping[str, Any]


def build_device(node: Config, ranks: Ranks | None = None) -> Device:
    """Build the device, and set torch's threads and precision for the process. ranks: those of this run."""
    found = devices.build(node)
    if isinstance(found, Layout):
        found = found.devices[ranks.local if ranks else 0]
    elif isinstance(found, Split):
        found = found.devices[0]
    elif ranks and found.type == "cuda":
        found = torch.device("cuda", ranks.local)
    device = Device(found, devices.shared(node), ranks.local_size if ranks else 1)
    device.activate()
    return device


def build_input(
    node: Config, spec: InputSpec | None, data: ImageDataset
) -> tuple[tuple[int, int], pixels.Normalize, str]:
    """Return ((image_size, resize_size), the normalisation, a sentence on where they come from)."""
    image_size, resize_size = node.get("image_size", "auto"), node.get("resize_size", "auto")
    if image_size == "native":
        image_size = int(min(_first_image(data).shape[-2:]))
    if image_size == "auto":
        image_size = spec.image_size if spec else 224
    if resize_size == "auto":
        resize_size = spec.resize_size if spec and image_size == spec.image_size else round(image_size * 256 / 224)
    wanted = {"mean": "auto", "std": "auto"} | node.get("normalize", {})
    mean = (spec.mean if spec else pixels.IMAGENET_MEAN) if wanted["mean"] == "auto" else tuple(wanted["mean"])
    std = (spec.std if spec else pixels.IMAGENET_STD) if wanted["std"] == "auto" else tuple(wanted["std"])
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise ConfigError(f"transforms.normalize: takes 3 means and 3 stds above 0, got {mean} and {std}")
    rounded = [f"({', '.join(f'{value:.3g}' for value in values)})" for values in (mean, std)]
    source = f" (weights {spec.source})" if spec else ""
    note = f"input {image_size}×{image_size}, mean {rounded[0]}, std {rounded[1]}{source}"
    return (image_size, resize_size), pixels.Normalize(mean, std), note


def _first_image(data: ImageDataset) -> torch.Tensor:
    """Return the first image that can be read. Raises ConfigError when none of the first hundred can."""
    reasons: list[str] = []
    for image in _first_images(data, reasons):
        return image
    raise ConfigError(f"dataset: none of the first images ({len(reasons)}) can be read, e.g. {reasons[0]}")


def _first_images(data: ImageDataset, reasons: list[str]) -> Iterator[torch.Tensor]:
    """Yield those of the first hundred images that can be read; reasons: grows by one for each of the others."""
    for index in range(min(len(data), 100)):
        try:
            image = data.image(index)
        except BadImage as error:
            reasons.append(str(error))
        else:
            check_image(image, data.location(index))
            yield image


def build_model(node: Config, data: ImageDataset, seed: int) -> nn.Module:
    """Build the model for the data's classes; its initial weights depend on the seed alone."""
    refuse_too_large(node, lambda: models.build(without_pretrained(node), num_classes=len(data.class_names)))
    seed_cpu(derive_seed(seed, "init"))
    model = models.build(node, num_classes=len(data.class_names))
    return prepare(model, models.shared(node), pretrained=bool(node.get("weights")))


def check_chains(
    chains: Mapping[str, pixels.Chain], data: ImageDataset, model: nn.Module, name: str, seed: int
) -> tuple[int, int]:
    """Try the transforms on the first image of a usual shape, and the model on what comes out. Raises ConfigError.

    Returns (height, width) of what the model sees in training.
    """
    steps = [step for chain in chains.values() for step in chain.steps]
    usual = (image for image in _first_images(data, []) if not reason_against(steps, *image.shape[-2:]))
    image = next(usual, None)
    image = _first_image(data) if image is None else image
    sizes = {}
    for split, chain in chains.items():
        seed_cpu(derive_seed(seed, "trial", split))
        sizes[split] = pixels.try_chain(chain, image, f"transforms.{split}")
        check_input(model, name, *sizes[split], len(data.class_names))
    return sizes["train"]


def build_loss(node: Config, data: ImageDataset, model: nn.Module) -> nn.Module:
    """Build the loss, with that of the auxiliary heads where the model has some."""
    loss: nn.Module = losses.build(node, class_names=data.class_names, class_counts=class_counts(data), task=data.task)
    weight = auxiliary_weight(model)
    return WithAuxiliary(loss, weight) if weight else loss


def build_teacher(node: Config, data: ImageDataset, device: Device, normalize: pixels.Normalize) -> Teacher | None:
    """Read the trained model that loss=distill learns from, None for other losses. Raises ConfigError."""
    if "teacher" not in node:
        return None
    try:
        trained = load_trained(node["teacher"], "best", "cpu", "fp32")
    except ConfigError as error:
        raise ConfigError(*(f"loss.teacher: {fault}" for fault in error.faults)) from error
    device.activate()  # reading it has set the threads and precision that it was trained with
    called = by_known(data.class_names, trained.classes)
    if sorted(trained.classes) != sorted(called.values()):
        shown = differ(trained.classes, "it", data.class_names, "the data")
        raise ConfigError(f"loss.teacher: {trained.path} knows other classes ({shown}); give one of the same")
    order = [trained.classes.index(called[name]) for name in data.class_names]
    mean, std, its_mean, its_std = map(
        torch.tensor, (normalize.mean, normalize.std, trained.normalize.mean, trained.normalize.std)
    )
    scale, shift = (one.to(device.torch_device) for one in (std / its_std, (mean - its_mean) / its_std))
    return Teacher(device.place(trained.model), order, scale, shift, read_manifest(trained.path)["sha256"])


def add_teacher(parts: Parts, node: Config, data: ImageDataset, normalize: pixels.Normalize) -> None:
    """Add the trained model that loss=distill learns from, if it is that. Raises ConfigError."""
    parts.teacher = build_teacher(node, data, parts.device, normalize)
    if parts.teacher is not None:
        parts.chance = math.nan  # part of the loss is a distance to the teacher
        parts.facts["teacher_sha256"] = parts.teacher.digest


def check_mixing(mixing: Mixing | None, loss: nn.Module, name: str, num_classes: int) -> None:
    """Try whether the loss takes the soft targets of mixed batches. Raises ConfigError."""
    if mixing is None:
        return
    try:
        loss(torch.zeros(2, num_classes), torch.full((2, num_classes), 1 / num_classes))
    except (RuntimeError, ValueError, TypeError) as error:
        problem = f"mixes labels, and the loss {name} takes whole classes only ({str(error).splitlines()[0]})"
        raise ConfigError(f"transforms.batch: {problem}; use loss=cross_entropy or transforms.batch=[]") from error


def class_counts(data: ImageDataset) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return (C,) the number of samples of each class."""
    if data.targets.ndim == 2:
        return np.asarray(data.targets.sum(axis=0), dtype=np.int64)
    return np.bincount(data.targets.astype(np.int64), minlength=len(data.class_names))


def build_training(
    config: Config, options: RunOptions, device: Device, model: nn.Module, normalize: nn.Module, loss: nn.Module,
    train: Loader, val: Loader, data: ImageDataset, ranks: Ranks | None = None,
) -> Parts:  # fmt: skip
    """Place the model and build what moves its weights; the schedule follows, since it needs the number of steps."""
    chance = chance_level(loss, len(data.class_names), data.task)
    model = device.place(model)
    return Parts(
        model=model,
        normalize=normalize.to(device.torch_device),
        loss=loss.to(device.torch_device),
        optimizer=build_optimizer(config["optimizer"], model),
        schedule=None,  # type: ignore[arg-type]
        train=train,
        val=val,
        train_metrics=TrainMetrics(ranks),
        eval_metrics=EvalMetrics(data.task, len(data.class_names), device.torch_device, ranks),
        scaler=device.scaler(),
        ranks=ranks,
        device=device,
        chance=chance,
        unfreezing=unfreezing(config["optimizer"], model),
        facts={
            "class_names": list(data.class_names),
            "task": data.task,
            "model": dict(config["model"]),
            "samples": len(data),
            "deep_range": data.decoder.deep_range,
            "config": dict(config),
        },
    )


def add_extras(parts: Parts, options: RunOptions, node: Config, data: ImageDataset) -> bool:
    """Add what a run may do beside plain training: early stopping, undoing a step. Raises ConfigError.

    Returns whether a higher monitored score is better.
    """
    parts.monitor, higher = choose_monitor(node, data, parts.watch) if len(parts.val) else choose_of_training(node)
    parts.schedule.notes += plateau_notes(parts.schedule, parts.monitor, higher)
    if options.early_stopping_patience is not None:
        parts.stopping = EarlyStopping(options.early_stopping_patience, options.early_stopping_min_delta, higher)
    if options.on_nan == "skip":
        parts.buffers = Buffers(parts.model)
    if options.on_nan == "roll_back" and node["name"] == "none":
        raise ConfigError(
            "on_nan: roll_back goes back to a checkpoint, and checkpoint=none writes none; use on_nan=skip"
        )
    return higher


def build_average(parts: Parts, options: RunOptions, steps_per_epoch: int, last_step: int) -> Average | None:
    """Build the average of the weights that a run keeps, None for none. Raises ConfigError."""
    model = parts.unshared or parts.model
    if options.swa_from is not None:
        if options.ema_decay is not None:
            raise ConfigError("swa_from: a run keeps one average of its weights; set ema_decay=null or swa_from=null")
        return EqualAverage(model, round(options.swa_from * last_step), steps_per_epoch, last_step)
    if options.ema_decay is None:
        return None
    if options.ema_rule == "bounded":
        return ExponentialAverage(model, options.ema_decay, options.ema_every)
    images, copied = options.batch_size * options.accumulate_steps, parts.schedule.warmup.steps / steps_per_epoch
    return TorchvisionAverage(
        model, options.ema_decay, options.ema_every, images, options.epochs, steps_per_epoch, copied
    )


def choose_of_training(node: Config) -> tuple[str, bool]:
    """Return the score of training that early stopping and schedules go by where there are no validation images."""
    monitor = str(node.get("monitor") or "loss").removeprefix("train/").removeprefix("val/")
    if monitor not in TRAINING_SCORES:
        known = f"there is {', '.join(TRAINING_SCORES)}, of training"
        raise ConfigError(f"checkpoint.monitor: there is no score '{monitor}' without validation images; {known}")
    return monitor, TRAINING_SCORES[monitor]


def choose_monitor(node: Config, data: ImageDataset, watch: Watch) -> tuple[str, bool]:
    """Return the score that says which checkpoint is best, and whether higher is better. Raises ConfigError."""
    names = metric_names(data.task, len(data.class_names))
    known = {name: score.higher_is_better for name, score in watch.monitored.items()} | names
    monitor = str(node.get("monitor") or next(iter(names)))
    monitor = monitor if monitor in known else monitor.removeprefix("val/")
    given = node.get("higher_is_better")
    if monitor not in known and given is None:
        remedy = "for a value that a watcher measures, add +checkpoint.higher_is_better=true or false"
        raise ConfigError(f"checkpoint.monitor: there is no score '{monitor}'; there is {', '.join(known)} ({remedy})")
    if monitor not in names and monitor in watch.monitored and (every := watch.monitored[monitor].every) > 1:
        path = f"watch.{watch.monitored[monitor].watcher}.every"
        raise ConfigError(f"checkpoint.monitor: '{monitor}' is measured every {every} epochs; set {path}=1")
    return monitor, known.get(monitor, bool(given)) if given is None else bool(given)
