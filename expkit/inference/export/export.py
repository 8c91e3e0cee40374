"""Export a model: load it, write it, read it back and compare."""

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
from expkit.inference.export.formats import FORMATS, FormatName, check_installed, write
from expkit.inference.export.pipeline import Preprocess
from expkit.inference.export.verify import TOLERANCE, some_images, verify


@dataclass(frozen=True)
class Export:
    """Options. output: None for the run's name in this folder. images: () for the run's validation data.

    tolerance: largest difference that counts as equal, of a probability, of a number in standard deviations, or of a
    pixel's value from 0 to 1; None for that of the pre-processing.
    """

    to: FormatName
    preprocess: Preprocess = "none"
    output: Path | None = None
    images: tuple[str, ...] = ()
    tolerance: float | None = None

    def __post_init__(self) -> None:
        if self.preprocess != "none" and not FORMATS[self.to].graph:
            raise ConfigError(f"--preprocess: {self.to} holds weights alone; use --to onnx or torch_export")
        if self.output and self.output.suffix != FORMATS[self.to].suffix:
            raise ConfigError(f"--output: a file of {self.to} ends in {FORMATS[self.to].suffix}, not '{self.output}'")


def export(place: Path, which: Which, options: Export) -> bool:
    """Write a model and print how much the file's results differ; return True if they are within the tolerance."""
    check_installed(options.to)
    console = Console(highlight=False)
    trained = load_trained(place, which, device="cpu", precision="fp32")
    trained.model.to(memory_format=torch.contiguous_format)
    for parameter in trained.model.parameters():
        parameter.requires_grad_(False)
    images = some_images(_images_to_compare(trained, options))  # before anything is written
    name = place.stem if place.is_file() else place.resolve().name
    path = options.output or Path(name + FORMATS[options.to].suffix)
    write(options.to, trained, options.preprocess, metadata(trained, options.preprocess), path)
    console.print(
        f"written  {path} ({path.stat().st_size / 1e6:,.1f} MB, {options.to}), from {trained.path}", soft_wrap=True
    )
    found = verify(options.to, trained, options.preprocess, images, path)
    limit = TOLERANCE[options.preprocess] if options.tolerance is None else options.tolerance
    equal = found.largest <= limit
    heading = f"{'equal' if equal else 'DIFFERS':<9}max difference over {count_noun(found.images, 'image')}"
    console.print(f"{heading}: {found.told(limit)}", soft_wrap=True)
    return equal


def metadata(trained: Trained, preprocess: Preprocess) -> dict[str, Any]:
    """Return what a program needs to use the file: what its output is, and the pre-processing of its input."""
    node = trained.config["transforms"]
    task = trained.task
    named = {"numbers": "numbers", "images": "channels"}.get(task.form, "classes")
    statistics = {name: list(values) for name, values in task.info.statistics.items()}
    return {
        named: list(trained.classes),
        "task": task.kind,
        "model": trained.config["model"],
        "output": task.output_text,
        **({"statistics": statistics} if statistics else {}),
        "input": {
            "none": "float32 (N, 3, h, w), RGB: transforms, then (x / 255 - mean) / std",
            "normalize": "uint8 (N, 3, h, w), RGB: after the transforms",
            "full": "uint8 (N, 3, H, W), RGB, any size from the crop's up",
        }[preprocess],
        "transforms": {name: node[name] for name in ("eval", "image_size", "resize_size", "normalize")},
        "scores": trained.scores,
        "checkpoint": trained.path.name,
    }  # fmt: skip


def _images_to_compare(trained: Trained, options: Export) -> ImageDataset:
    if options.images:
        return path_images(collect_images(options.images), trained.classes, trained.decoder)
    try:
        node = trained.config.get("dataset")
        if faults := datasets.faults(node):
            raise ConfigError(*faults)
        splits = load(trained.config["dataset"])
    except ConfigError as error:
        raise ConfigError(f"--images: the run's own data cannot be read ({error}); name some images") from error
    return splits.val or splits.train  # a run may have no validation images
