"""The check that an exported file computes what the model does, on real images."""

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
from expkit.inference.export.formats import FORMATS, Run, Word
from expkit.inference.export.pipeline import Preprocess

IMAGES = 16
# Largest difference of a probability. Inside a graph images are resized in floating point, which may round a pixel the
# other way than torchvision's whole numbers do.
TOLERANCE: dict[Preprocess, float] = {"none": 1e-4, "normalize": 1e-4, "full": 2e-2}


@dataclass(frozen=True)
class Difference:
    """Over `images` images: the largest differences of a logit and of a probability, and how many classes agree."""

    images: int
    logit: float
    probability: float
    same_class: int


def some_images(data: ImageDataset, count: int = IMAGES) -> list[Tensor]:
    """Return up to `count` images, (3, H, W) uint8, spread over a dataset, unreadable ones left out."""
    found = []
    for index in np.unique(np.linspace(0, len(data) - 1, min(count, len(data))).round().astype(int)).tolist():
        try:
            found.append(data.image(index))
        except BadImage:
            continue
    if not found:
        raise ConfigError("--images: none of these can be read; give some that can")
    return found


@torch.inference_mode()
def verify(word: Word, trained: Trained, preprocess: Preprocess, images: Sequence[Tensor], path: Path) -> Difference:
    """Compare the file with the model that it was made from, image by image and, where they stack, as one batch."""
    run = FORMATS[word].read(path, trained)
    seen = torch.stack([trained.seen(image) for image in images])
    expected = trained.logits(seen)
    if preprocess == "full":
        given = torch.cat([run(image[None].contiguous()) for image in images])
    else:
        batch = trained.normalize(seen) if preprocess == "none" else seen
        given = _both_ways(run, batch.contiguous())
    probabilities = [x.softmax(1) if trained.task == "single_label" else x.sigmoid() for x in (expected, given)]
    return Difference(
        len(images),
        float((expected - given).abs().max()),
        float((probabilities[0] - probabilities[1]).abs().max()),
        int((expected.argmax(1) == given.argmax(1)).sum()),
    )


def _both_ways(run: Run, batch: Tensor) -> Tensor:
    """Return the logits of a batch, of which the first image was computed alone: the batch's size is free."""
    return torch.cat([run(batch[:1]), run(batch)[1:]])
