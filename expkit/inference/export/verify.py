"""Check on real images that an exported file computes what the model does."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from expkit.core.errors import ConfigError
from expkit.data.dataset import ImageDataset
from expkit.data.decode import BadImage
from expkit.inference import Trained
from expkit.inference.export.formats import FORMATS, FormatName
from expkit.inference.export.pipeline import Preprocess
from expkit.tasks.task import Task

IMAGES = 16
# Largest difference, of a probability or what is compared in its place. Graphs resize images in floating point, which
# may round pixels differently than torchvision's integers.
TOLERANCE: dict[Preprocess, float] = {"none": 1e-4, "normalize": 1e-4, "full": 2e-2}


@dataclass(frozen=True)
class Difference:
    """The largest differences over `images` images.

    output: what the outputs are called, and output_by: their difference; largest: that of probabilities, where there
    are classes, else of the outputs. same, of: how many decisions agree, 0 for none; decided: what they are called.
    """

    images: int
    output: str
    output_by: float
    largest: float
    same: int = 0
    of: int = 0
    decided: str = "class"

    def told(self, limit: float) -> str:
        """Return the differences as text."""
        if not self.of:
            return f"{self.output} {self.largest:.2e} (limit {limit:g})"
        probabilities = f"{self.output} {self.output_by:.2e}, probabilities {self.largest:.2e} (limit {limit:g})"
        return f"{probabilities}; same {self.decided} {self.same:,} of {self.of:,}"


def some_images(data: ImageDataset, count: int = IMAGES) -> list[Tensor]:
    """Return up to `count` readable images, (3, H, W) uint8, spread over a dataset. Raises ConfigError for none."""
    found = []
    for index in np.unique(np.linspace(0, len(data) - 1, min(count, len(data))).round().astype(int)).tolist():
        try:
            found.append(data.image(index))
        except BadImage:
            continue
    if not found:
        raise ConfigError("--images: none of these can be read; give others")
    return found


@torch.inference_mode()
def verify(
    name: FormatName, trained: Trained, preprocess: Preprocess, images: Sequence[Tensor], path: Path
) -> Difference:
    """Compare the file's outputs with the model's, image by image or, with equal sizes, as one batch."""
    run = FORMATS[name].read(path, trained)
    seen = torch.stack([trained.seen(image) for image in images])
    expected = trained.logits(seen)
    if preprocess == "full":
        given = torch.cat([run(image[None].contiguous()) for image in images])
    else:
        batch = (trained.normalize(seen) if preprocess == "none" else seen).contiguous()
        given = torch.cat([run(batch[:1]), run(batch)[1:]])  # the first alone: any batch size must work
    return difference(trained.task, expected, given)


def difference(task: Task, expected: Tensor, given: Tensor) -> Difference:
    """Return how much (N, …) outputs differ; numbers as the model gives them, in standard deviations."""
    by = float((expected - given).abs().max())
    if task.form not in ("classes", "masks"):
        return Difference(len(expected), task.output_name, by, by)
    pairs = [one.softmax(1) if task.form == "masks" else task.answers(one) for one in (expected, given)]
    same = expected.argmax(1) == given.argmax(1)
    decided = "class of pixels" if task.form == "masks" else "class"
    largest = float((pairs[0] - pairs[1]).abs().max())
    return Difference(len(expected), task.output_name, by, largest, int(same.sum()), same.numel(), decided)
