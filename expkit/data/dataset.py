"""What a dataset is here: images that can be read by index, whose names and targets are known without reading them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Task = Literal["single_label", "multilabel"]


class ImageDataset:
    """A set of labelled images. It holds read-only state only, so that forked workers share it.

    class_names: the word of each class; targets: (N,) int64 class indices, or (N, C) float32 of 0 and 1 for the
    task "multilabel"; task: "single_label" or "multilabel".
    """

    class_names: tuple[str, ...]
    targets: NDArray[np.int64] | NDArray[np.float32]
    task: Task = "single_label"
    in_memory: bool = False  # whether reading an image costs so little that worker processes would only slow it

    def __len__(self) -> int:
        return len(self.targets)

    def image(self, index: int) -> Tensor:
        """Return the image as (3, H, W) uint8, values 0 to 255. Raises BadImage when it cannot be read."""
        raise NotImplementedError

    def sample_name(self, index: int) -> str:
        """Return what identifies the sample on every machine: its path below the root, or `train/17`."""
        raise NotImplementedError

    def location(self, index: int) -> str:
        """Return where to look for the sample on this machine, for messages."""
        return self.sample_name(index)


class Subset(ImageDataset):
    """Some samples of a dataset, by index, in the order given."""

    def __init__(self, dataset: ImageDataset, indices: NDArray[np.int64]) -> None:
        self.dataset = dataset
        self.indices = indices
        self.class_names = dataset.class_names
        self.targets = dataset.targets[indices]
        self.task, self.in_memory = dataset.task, dataset.in_memory

    def image(self, index: int) -> Tensor:
        return self.dataset.image(int(self.indices[index]))

    def sample_name(self, index: int) -> str:
        return self.dataset.sample_name(int(self.indices[index]))

    def location(self, index: int) -> str:
        return self.dataset.location(int(self.indices[index]))


@dataclass(frozen=True)
class Splits:
    """What a dataset factory returns: the training images and, where the data has them, those held out."""

    train: ImageDataset
    val: ImageDataset | None = None
    notes: Sequence[str] = ()  # what the run should tell its user, e.g. which class is number 0
