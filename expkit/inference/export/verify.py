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
from expkit.tasks.class_metrics import probabilities_of

IMAGES = 16
# Largest difference of a probability. Graphs resize images in floating point, which may round pixels differently than
# torchvision's integers.
TOLERANCE: dict[Preprocess, float] = {"none": 1e-4, "normalize": 1e-4, "full": 2e-2}


@dataclass(frozen=True)
class Difference:
    """The largest differences of a logit and of a probability over `images` images, and how many classes agree."""

    images: int
    logit: float
    probability: float
    same_class: int


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
    """Compare the file's logits with the model's, image by image or, with equal sizes, as one batch."""
    run = FORMATS[name].read(path, trained)
    seen = torch.stack([trained.seen(image) for image in images])
    expected = trained.logits(seen)
    if preprocess == "full":
        given = torch.cat([run(image[None].contiguous()) for image in images])
    else:
        batch = (trained.normalize(seen) if preprocess == "none" else seen).contiguous()
        given = torch.cat([run(batch[:1]), run(batch)[1:]])  # the first alone: any batch size must work
    probabilities = [probabilities_of(logits, trained.task) for logits in (expected, given)]
    return Difference(
        len(images),
        float((expected - given).abs().max()),
        float((probabilities[0] - probabilities[1]).abs().max()),
        int((expected.argmax(1) == given.argmax(1)).sum()),
    )
