"""Views of a dataset with other targets: numbers or masks in place of its classes."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from expkit.data.dataset import ImageDataset, Subset
from expkit.data.decode import BadImage

UNKNOWN = 255  # in a mask: a pixel whose class is not known, which no loss and no score counts


class WithNumbers(Subset):
    """The same images with K numbers each. names: of the numbers; numbers: (N, K)."""

    def __init__(self, dataset: ImageDataset, names: Sequence[str], numbers: NDArray[np.float32]) -> None:
        super().__init__(dataset, np.arange(len(dataset)))
        self.class_names, self.targets = tuple(names), numbers.astype(np.float32, copy=False)
        self.task, self.reads_targets = "regression", False

    def for_task(self, task: str) -> ImageDataset:
        return self if task == self.task else self.dataset.for_task(task)


class WithMasks(Subset):
    """The same images with the class of each pixel.

    class_names: of the values 0 to C - 1. read: returns the mask of the image of that index, a tv_tensors.Mask (H, W)
    uint8, or raises BadImage; it is called in the workers.
    """

    def __init__(self, dataset: ImageDataset, class_names: Sequence[str], read: Callable[[int], Tensor]) -> None:
        super().__init__(dataset, np.arange(len(dataset)))
        self.class_names, self.task, self.reads_targets = tuple(class_names), "segmentation", True
        self._read = read
        if self.targets.ndim == 2:  # nothing to balance
            self.targets = np.zeros(len(dataset), dtype=np.int64)

    def target(self, index: int) -> Tensor:
        return self._read(index)

    def for_task(self, task: str) -> ImageDataset:
        return self if task == self.task else self.dataset.for_task(task)


def check_mask(mask: Tensor, image: Tensor, num_classes: int, location: str) -> None:
    """Raise BadImage unless a mask fits its (3, H, W) image: (H, W) uint8, of classes that exist or UNKNOWN."""
    if mask.dtype != torch.uint8 or mask.shape != image.shape[1:]:
        given = f"its mask is {tuple(mask.shape)} {mask.dtype}"
        raise BadImage(location, f"{given}, not {tuple(image.shape[1:])} torch.uint8 as its image")
    wrong = mask[(mask >= num_classes) & (mask != UNKNOWN)]
    if len(wrong):
        known = f"the classes are 0 to {num_classes - 1}, and {UNKNOWN} is unknown"
        raise BadImage(location, f"its mask holds the value {int(wrong[0])}; {known}")
