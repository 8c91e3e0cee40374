"""Exporting from first to last: load, write, read back, compare."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from expkit.config.registry import datasets
from expkit.core.errors import ConfigError
from expkit.core.formatting import count_noun
from expkit.core.terminal import Console
from expkit.data.dataset import ImageDataset
from expkit.data.datasets import load
from expkit.inference import Trained, Which, collect_images, load_trained, path_images
from expkit.inference.export.formats import FORMATS, Word, check_installed, write
from expkit.inference.export.pipeline import Preprocess
from expkit.inference.export.verify import TOLERANCE, some_images, verify


@dataclass(frozen=True)
class Export:
    """What is asked for. output: None for the run's name in this folder. images: none for the run's validation data.

    tolerance: the largest difference of a probability that counts as equal, None for that of the pre-processing.
    """

    to: Word
    preprocess: Preprocess = "none"
    output: Path | None = None
    images: tuple[str, ...] = ()
    tolerance: float | None = None

    def __post_init__(self) -> None:
        if self.preprocess != "none" and not FORMATS[self.to].graph:
            raise ConfigError(f"--preprocess: {self.to} holds weights alone; use --to onnx or torch_export")
        if self.output and self.output.suffix != FORMATS[self.to].suffix:
            raise ConfigError(f"--output: a file of {self.to} ends in {FORMATS[self.to].suffix}, not '{self.output}'")


def export(place: Path, which: Which, wishes: Export) -> bool:
    """Write a model and say how far the file's results are from its own; returns whether they are equal enough."""
    check_installed(wishes.to)
    console = Console(highlight=False)
    trained = load_trained(place, which, device="cpu", precision="fp32")
    trained.model.to(memory_format=torch.contiguous_format)
    for parameter in trained.model.parameters():
        parameter.requires_grad_(False)
    images = some_images(_compared_on(trained, wishes))  # before anything is written
    name = place.stem if place.is_file() else place.resolve().name
    path = wishes.output or Path(name + FORMATS[wishes.to].suffix)
    write(wishes.to, trained, wishes.preprocess, metadata(trained, wishes.preprocess), path)
    console.print(
        f"written  {path} ({path.stat().st_size / 1e6:,.1f} MB, {wishes.to}), from {trained.path}", soft_wrap=True
    )
    found = verify(wishes.to, trained, wishes.preprocess, images, path)
    limit = TOLERANCE[wishes.preprocess] if wishes.tolerance is None else wishes.tolerance
    equal = found.probability <= limit
    console.print(
        f"{'equal' if equal else 'DIFFERS':<9}max difference over {count_noun(found.images, 'image')}:"
        f" logits {found.logit:.2e},"
        f" probabilities {found.probability:.2e} (limit {limit:g}); same class {found.same_class} of {found.images}",
        soft_wrap=True,
    )
    return equal


def metadata(trained: Trained, preprocess: Preprocess) -> dict[str, Any]:
    """Return what a program must know to use the file: classes, and what it has to do to an image before."""
    node = trained.config["transforms"]
    return {
        "classes": list(trained.classes),
        "task": trained.task,
        "model": trained.config["model"],
        "output": "logits (N, C); softmax gives probabilities" if trained.task == "single_label"
        else "logits (N, C); sigmoid gives probabilities",
        "input": {
            "none": "float32 (N, 3, h, w), RGB: transforms, then (x / 255 - mean) / std",
            "normalize": "uint8 (N, 3, h, w), RGB: after the transforms",
            "full": "uint8 (N, 3, H, W), RGB, any size from the crop's up",
        }[preprocess],
        "transforms": {word: node[word] for word in ("eval", "image_size", "resize_size", "normalize")},
        "scores": trained.scores,
        "checkpoint": trained.path.name,
    }  # fmt: skip


def _compared_on(trained: Trained, wishes: Export) -> ImageDataset:
    if wishes.images:
        return path_images(collect_images(wishes.images), trained.classes, trained.decoder)
    try:
        node = trained.config.get("dataset")
        if faults := datasets.faults(node):
            raise ConfigError(*faults)
        splits = load(trained.config["dataset"])
    except ConfigError as error:
        raise ConfigError(f"--images: the run's own data cannot be read ({error}); name some images") from error
    return splits.val or splits.train  # a run may have no validation images
