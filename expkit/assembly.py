"""The wiring, in reading order: a checked config becomes datasets, a model, what trains it, and a Runner."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from expkit.checkpoints import CheckpointDamaged, CheckpointOptions, Checkpoints, read_checkpoint
from expkit.checkpoints.keep import find_checkpoint
from expkit.data import transforms as pixels
from expkit.data.dataset import ImageDataset, Splits
from expkit.data.datasets import DataOptions, load
from expkit.data.loader import Loader, Samples
from expkit.data.samplers import Order
from expkit.devices import Device
from expkit.devices.placement import available_cores
from expkit.keys import key, seed_cpu
from expkit.models import InputSpec, auxiliary_weight, check_input, prepare, pretrained_input
from expkit.registry import GROUPS, ConfigError, datasets, devices, loggers, losses, models, samplers
from expkit.registry import checkpoints as checkpoint_words
from expkit.training.losses import WithAuxiliary, chance_level
from expkit.training.metrics import EvalMetrics, TrainMetrics, metric_names
from expkit.training.optimizers import build_optimizer
from expkit.training.options import RunOptions
from expkit.training.runner import Parts, Runner
from expkit.training.schedules import build_schedule

Config = Mapping[str, Any]
_NOT_SCALARS = {*GROUPS, "experiment"}


def check(config: Config) -> None:
    """Check every group of a config against the registry, and the scalars. Raises ConfigError with all faults."""
    faults = RunOptions.faults({name: value for name, value in config.items() if name not in _NOT_SCALARS})
    for group, registry in GROUPS.items():
        if group not in config:
            faults.append(f"{group}: is needed; choose one with {group}=…")
        elif group == "transforms":
            faults += pixels.faults(config[group])
        elif group == "logger":
            faults += _logger_faults(config[group])
        else:
            faults += registry.faults(config[group])
    if faults:
        raise ConfigError(*faults)


def _logger_faults(node: object) -> list[str]:
    if not isinstance(node, Mapping):
        return [f"logger: takes a mapping of loggers, got {node!r}; e.g. logger=tensorboard or logger=none"]
    return [fault for name, one in node.items() for fault in loggers.faults(one, f"logger.{name}")]


@dataclass
class Job:
    """Everything that is built before a run folder exists: what fails here leaves nothing behind."""

    config: Config
    options: RunOptions
    splits: Splits
    parts: Parts
    runner: Runner
    monitor: str
    higher_is_better: bool
    lines: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What the run folder's name begins with."""
        return self.options.name or f"{self.config['dataset']['name']}-{self.config['model']['name']}"


def assemble(config: Config) -> Job:
    """Build all objects of a checked config. Raises ConfigError; nothing has been written by then but data sets."""
    options = RunOptions.of({name: value for name, value in config.items() if name not in _NOT_SCALARS})
    device = build_device(config["device"])
    splits = load(config["dataset"])
    assert splits.val is not None
    spec = pretrained_input(config["model"])
    sizes, normalize, size_note = build_input(config["transforms"], spec, splits.train)
    chains = {split: pixels.build_chain(config["transforms"][split], *sizes) for split in ("train", "eval")}
    model = build_model(config["model"], splits.train, options.seed)
    check_chains(chains, splits.train, model, config["model"]["name"], options.seed)
    loss = build_loss(config["loss"], splits.train, model)
    order = build_order(config["sampler"], splits.train)
    train, val = build_loaders(config["dataset"], splits, chains, order, options, device)
    parts = build_training(config, options, device, model, normalize, loss, train, val, splits.train)
    runner = Runner(parts, options)
    parts.schedule = build_schedule(config["schedule"], parts.optimizer, runner.steps_per_epoch, runner.last_step)
    monitor, higher = choose_monitor(config["checkpoint"], splits.train)
    job = Job(config, options, splits, parts, runner, monitor, higher)
    job.lines = describe(job)
    job.notes = [*splits.notes, size_note, *order.notes]
    job.notes += restore(config["checkpoint"], job)
    return job


def build_device(node: Config) -> Device:
    """Build the device, and set torch's threads and precision for the process."""
    device = Device(devices.build(node), devices.shared(node))
    device.activate()
    return device


def build_input(node: Config, spec: InputSpec | None, data: ImageDataset) -> tuple[tuple[int, int], nn.Module, str]:
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
    rounded = ", ".join(f"{value:.3g}" for value in (*mean, *std))
    source = f" (weights {spec.source})" if spec else ""
    note = f"the model sees {image_size} pixels, normalised by mean and std {rounded}{source}"
    return (image_size, resize_size), pixels.Normalize(mean, std), note


def _first_image(data: ImageDataset) -> torch.Tensor:
    from expkit.data.decode import BadImage

    try:
        return data.image(0)
    except BadImage as error:
        raise ConfigError(f"dataset: the first image cannot be read: {error}; remove the file") from error


def build_model(node: Config, data: ImageDataset, seed: int) -> nn.Module:
    """Build the model for the data's classes; its initial weights depend on the seed alone."""
    seed_cpu(key(seed, "init"))
    model = models.build(node, num_classes=len(data.class_names))
    return prepare(model, models.shared(node), pretrained=bool(node.get("weights")))


def check_chains(
    chains: Mapping[str, pixels.Chain], data: ImageDataset, model: nn.Module, name: str, seed: int
) -> None:
    """Try the transforms on the first image, and the model on what comes out. Raises ConfigError."""
    image = _first_image(data)
    for split, chain in chains.items():
        seed_cpu(key(seed, "trial", split))
        height, width = pixels.try_chain(chain, image, f"transforms.{split}")
        check_input(model, name, height, width, len(data.class_names))


def build_loss(node: Config, data: ImageDataset, model: nn.Module) -> nn.Module:
    """Build the loss, with that of the auxiliary heads where the model has some."""
    loss: nn.Module = losses.build(node, class_names=data.class_names, class_counts=class_counts(data), task=data.task)
    weight = auxiliary_weight(model)
    return WithAuxiliary(loss, weight) if weight else loss


def class_counts(data: ImageDataset) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return (C,) the number of samples of each class."""
    if data.targets.ndim == 2:
        return np.asarray(data.targets.sum(axis=0), dtype=np.int64)
    return np.bincount(data.targets.astype(np.int64), minlength=len(data.class_names))


def build_order(node: Config, data: ImageDataset) -> Order:
    order: Order = samplers.build(node, targets=data.targets, class_names=data.class_names)
    return order


def build_loaders(
    node: Config, splits: Splits, chains: Mapping[str, pixels.Chain], order: Order, options: RunOptions, device: Device
) -> tuple[Loader, Loader]:
    """Return the loaders of training and validation."""
    data: DataOptions = datasets.shared(node)
    assert splits.val is not None
    if data.drop_last and options.batch_size > len(order):
        raise ConfigError(
            f"batch_size: {options.batch_size} is more than the {len(order)} samples of an epoch, and dataset.drop_last"
            " leaves out the smaller batch, so no batch remains; lower batch_size or set dataset.drop_last=false"
        )
    workers = available_cores() if data.num_workers == "auto" else data.num_workers
    if data.num_workers == "auto" and splits.train.in_memory:
        workers = 0
    common = {"num_workers": workers, "timeout": data.timeout, "pin_memory": device.torch_device.type == "cuda"}
    train = Samples(splits.train, chains["train"], options.seed, "sample")
    val = Samples(splits.val, chains["eval"], options.seed, "eval")
    every = Order(len(splits.val), lambda generator: np.arange(len(val.dataset)))
    return (
        Loader(train, order, options.batch_size, drop_last=data.drop_last, **common),  # type: ignore[arg-type]
        Loader(val, every, options.eval_batch_size or options.batch_size, **common),  # type: ignore[arg-type]
    )


def build_training(
    config: Config, options: RunOptions, device: Device, model: nn.Module, normalize: nn.Module, loss: nn.Module,
    train: Loader, val: Loader, data: ImageDataset,
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
        train_metrics=TrainMetrics(device.torch_device),
        eval_metrics=EvalMetrics(data.task, len(data.class_names), device.torch_device),
        device=device,
        chance=chance,
        facts={"class_names": list(data.class_names), "task": data.task, "model": dict(config["model"])},
    )


def choose_monitor(node: Config, data: ImageDataset) -> tuple[str, bool]:
    """Return the score that says which checkpoint is best, and whether higher is better. Raises ConfigError."""
    names = metric_names(data.task, len(data.class_names))
    monitor = node.get("monitor") or next(iter(names))
    if monitor not in names:
        raise ConfigError(f"checkpoint.monitor: there is no score '{monitor}'; there is {', '.join(names)}")
    return monitor, names[monitor]


def restore(node: Config, job: Job) -> Sequence[str]:
    """Take a whole state (resume) or weights alone (init_from) from a checkpoint; returns notes. Raises ConfigError."""
    options: CheckpointOptions | None = checkpoint_words.build(node)
    if options is None or not (options.resume or options.init_from):
        return []
    word = "resume" if options.resume else "init_from"
    path = find_checkpoint(Path(str(options.resume or options.init_from)).expanduser(), f"checkpoint.{word}")
    try:
        state, facts = read_checkpoint(path)
    except CheckpointDamaged as error:
        raise ConfigError(f"checkpoint.{word}: {error}; give another one") from error
    ours, theirs = list(job.splits.train.class_names), facts["class_names"]
    if ours != theirs:
        shown = f"{len(theirs)} classes ({', '.join(theirs[:8])}), the data {len(ours)} ({', '.join(ours[:8])})"
        raise ConfigError(f"checkpoint.{word}: the classes differ: {path} has {shown}")
    problem = _weights_problem(job.parts.model, state["model"])
    if problem:
        raise ConfigError(f"checkpoint.{word}: {path} does not fit {job.config['model']['name']}: {problem}")
    if options.resume:
        job.runner.load_state_dict(state)
        return [f"goes on from {path} (epoch {facts['epoch']}, step {facts['step']})"]
    job.parts.model.load_state_dict(state["model"])
    return [f"took the weights of {path}"]


def _weights_problem(model: nn.Module, state: Mapping[str, torch.Tensor]) -> str:
    own = model.state_dict()
    if missing := [name for name in own if name not in state]:
        return f"it lacks {', '.join(missing[:3])}"
    if surplus := [name for name in state if name not in own]:
        return f"it also has {', '.join(surplus[:3])}"
    for name, value in own.items():
        if value.shape != state[name].shape:
            return f"{name} is {tuple(state[name].shape)} there and {tuple(value.shape)} here"
    return ""


def open_loggers(config: Config, folder: Path) -> list[Any]:
    """Build the loggers that the config chooses."""
    return [
        loggers.build(node, f"logger.{name}", folder=folder, run_name=folder.name)
        for name, node in config["logger"].items()
    ]


def open_checkpoints(job: Job, folder: Path) -> Checkpoints | None:
    options: CheckpointOptions | None = checkpoint_words.build(job.config["checkpoint"])
    if options is None:
        return None
    return Checkpoints(folder / "checkpoints", job.monitor, job.higher_is_better, options.every)


def describe(job: Job) -> dict[str, str]:
    """Return the heading of a run, as heading -> text."""
    parts, data, val = job.parts, job.splits.train, job.splits.val
    assert val is not None
    parameters = list(parts.model.parameters())
    count, trained = (sum(p.numel() for p in some) for some in (parameters, [p for p in parameters if p.requires_grad]))
    classes = ", ".join(data.class_names[:6]) + (", …" if len(data.class_names) > 6 else "")
    frozen = f", {trained:,} of them trained" if trained < count else ""
    return {
        "data": f"{len(data):,} images to train, {len(val):,} to validate, {len(data.class_names)} classes ({classes})",
        "model": f"{job.config['model']['name']}, {count:,} parameters{frozen}",
        "device": parts.device.describe(),
        "length": f"{job.runner.last_step:,} steps, {job.runner.steps_per_epoch:,} an epoch",
    }
