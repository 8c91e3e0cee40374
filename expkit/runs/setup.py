"""Set up a run: options, device, data, transforms and the initial model."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torchvision import tv_tensors

from expkit.config.checked import CheckedConfig
from expkit.config.registry import datasets, devices, models
from expkit.config.run_options import RunOptions
from expkit.core.errors import ConfigError
from expkit.core.seeding import derive_seed, seed_cpu
from expkit.data import transforms as pixels
from expkit.data.chain_trial import try_chain, try_chain_with_target
from expkit.data.dataset import ImageDataset, Splits
from expkit.data.datasets import load
from expkit.data.decode import BadImage
from expkit.data.growth import reason_against
from expkit.data.labels import check_image
from expkit.devices import Device, Layout, Ranks, Split
from expkit.models import InputSpec, check_input, prepare, pretrained_input
from expkit.models.planned import refuse_too_large
from expkit.models.pretrained import without_pretrained
from expkit.tasks.task import Task, build_task

Config = Mapping[str, Any]
Placement = torch.device | Layout | Split  # of the config's device


@dataclass(frozen=True)
class Basis:
    """What is independent of a job's seed and training options: the transforms and the model."""

    sizes: tuple[int, int]  # (image_size, resize_size)
    normalize: pixels.Normalize
    note: str
    chains: Mapping[str, pixels.Chain]
    model: nn.Module
    seen: tuple[int, int]  # (height, width) of the model's input in training


@dataclass(frozen=True)
class Setup:
    """What all objects of a run are built from. ranks: None for a single process."""

    config: Config
    options: RunOptions
    placement: Placement
    device: Device
    splits: Splits
    task: Task
    basis: Basis
    ranks: Ranks | None = None

    @property
    def image_size(self) -> int:
        """The size of the model's input, in pixels."""
        return self.basis.sizes[0]


def set_up(config: CheckedConfig, ranks: Ranks | None, splits: Splits | None, basis: Basis | None) -> Setup:
    """Build what all objects are built from. splits, basis: of an earlier job with the same. Raises ConfigError."""
    placement: Placement = devices.build(config["device"])
    device = build_device(placement, config["device"], ranks)
    if splits is None:  # the first rank draws or downloads the data
        splits = ranks.first_before_others(lambda: load(config["dataset"])) if ranks else load(config["dataset"])
    task, splits = build_task(config["task"], splits)
    if task.kind != "single_label" and (share := datasets.shared(config["dataset"]).label_noise):
        problem = f"changes classes, and the task is {task.kind}"
        raise ConfigError(f"dataset.label_noise: {problem}; set it to 0, got {share}")
    basis = basis or build_basis(config, splits, task, config.options.seed)
    return Setup(config, config.options, placement, device, splits, task, basis, ranks)


def build_basis(config: Config, splits: Splits, task: Task, seed: int) -> Basis:
    """Build the transforms and the model, and try them on an image. Raises ConfigError."""
    spec = pretrained_input(config["model"])
    sizes, normalize, note = build_input(config["transforms"], spec, splits.train)
    chains = {split: pixels.build_chain(config["transforms"][split], *sizes) for split in ("train", "eval")}
    model = build_model(config["model"], task.num_outputs, seed)
    seen = check_chains(chains, splits.train, model, config["model"]["name"], task, seed)
    return Basis(sizes, normalize, note, chains, model, seen)


def build_device(placement: Placement, node: Config, ranks: Ranks | None) -> Device:
    """Build the device of this process, and set torch's threads and precision."""
    if isinstance(placement, Layout):
        found = placement.devices[ranks.local if ranks else 0]
    elif isinstance(placement, Split):
        found = placement.devices[0]
    else:
        found = torch.device("cuda", ranks.local) if ranks and placement.type == "cuda" else placement
    device = Device(found, devices.shared(node), ranks.local_size if ranks else 1)
    device.activate()
    return device


def build_input(
    node: Config, spec: InputSpec | None, data: ImageDataset
) -> tuple[tuple[int, int], pixels.Normalize, str]:
    """Return ((image_size, resize_size), the normalisation, a sentence on both)."""
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
        raise ConfigError(f"transforms.normalize: expected 3 means and 3 stds above 0, got {mean} and {std}")
    rounded = [f"({', '.join(f'{value:.3g}' for value in values)})" for values in (mean, std)]
    source = f" (weights {spec.source})" if spec else ""
    note = f"input {image_size}×{image_size}, mean {rounded[0]}, std {rounded[1]}{source}"
    return (image_size, resize_size), pixels.Normalize(mean, std), note


def _first_image(data: ImageDataset) -> torch.Tensor:
    """Return the first readable image. Raises ConfigError if none of the first hundred is."""
    reasons: list[str] = []
    for image in _first_images(data, reasons):
        return image
    raise ConfigError(f"dataset: none of the first images ({len(reasons)}) can be read, e.g. {reasons[0]}")


def _first_images(data: ImageDataset, reasons: list[str]) -> Iterator[torch.Tensor]:
    """Yield the readable ones of the first hundred images; append a reason for each other one."""
    for index in range(min(len(data), 100)):
        try:
            image = data.image(index)
        except BadImage as error:
            reasons.append(str(error))
        else:
            check_image(image, data.location(index))
            yield image


def build_model(node: Config, num_outputs: int, seed: int) -> nn.Module:
    """Build the model with so many outputs; its initial weights depend on the seed alone."""
    refuse_too_large(node, lambda: models.build(without_pretrained(node), num_classes=num_outputs))
    seed_cpu(derive_seed(seed, "init"))
    model = models.build(node, num_classes=num_outputs)
    return prepare(model, models.shared(node), pretrained=bool(node.get("weights")))


def check_chains(
    chains: Mapping[str, pixels.Chain], data: ImageDataset, model: nn.Module, name: str, task: Task, seed: int
) -> tuple[int, int]:
    """Return (height, width) of the model's input in training. Raises ConfigError.

    Tries the transforms on the first image of a usual shape, and the model on their result.
    """
    steps = [step for chain in chains.values() for step in chain.steps]
    usual = (image for image in _first_images(data, []) if not reason_against(steps, *image.shape[-2:]))
    image = next(usual, None)
    image = _first_image(data) if image is None else image
    sizes = {}
    for split, chain in chains.items():
        seed_cpu(derive_seed(seed, "trial", split))
        sizes[split] = try_chain(chain, image, f"transforms.{split}")
        if data.reads_targets:
            blank = tv_tensors.Mask(torch.zeros(image.shape[1:], dtype=torch.uint8))
            try_chain_with_target(chain, image, blank, f"transforms.{split}")
        check_input(model, name, *sizes[split], task.output_shape(*sizes[split]))
    return sizes["train"]
