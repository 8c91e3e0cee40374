"""Images in memory as arrays, and images from another library's dataset object."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from expkit.data.dataset import ImageDataset
from expkit.data.decode import BadImage


class ImageArrays(ImageDataset):
    """Images as one array, (N, H, W, 3) or (N, H, W) uint8; grey ones become three equal channels."""

    in_memory = True

    def __init__(self, pixels: NDArray[np.uint8], targets: Any, class_names: Sequence[str], split: str) -> None:
        self.pixels, self.split, self.class_names = pixels, split, tuple(class_names)
        self.grey = pixels.ndim == 3
        self.targets = np.asarray(targets, dtype=np.int64)

    def sample_name(self, index: int) -> str:
        return f"{self.split}/{index}"

    def image(self, index: int) -> Tensor:
        return to_tensor(self.pixels[index].copy(), self.grey)  # a transform may write into it

    def images(self, indices: NDArray[np.int64]) -> Tensor:
        return to_tensor(self.pixels[indices], self.grey)


class ReadByLibrary(ImageDataset):
    """Images of another library's dataset, whose samples are (Pillow image, label)."""

    def __init__(self, opened: Any, targets: Any, class_names: Sequence[str], split: str) -> None:
        self.opened, self.split, self.class_names = opened, split, tuple(class_names)
        self.targets = np.asarray(targets, dtype=np.int64)

    def sample_name(self, index: int) -> str:
        return f"{self.split}/{index}"

    def image(self, index: int) -> Tensor:
        try:
            return to_tensor(self.decoder.pixels(self.opened[index][0]))
        except Exception as error:  # the library opens files, and its readers raise many types
            raise BadImage(self.location(index), f"cannot be read: {type(error).__name__}: {error}") from error


def to_tensor(pixels: NDArray[np.uint8], grey: bool = False) -> Tensor:
    """(..., H, W, 3) uint8 -> (..., 3, H, W), or grey (..., H, W) -> three equal channels; without a copy."""
    tensor = torch.from_numpy(pixels)
    if not grey:
        return tensor.movedim(-1, -3)
    return tensor.unsqueeze(-3).expand(*tensor.shape[:-2], 3, *tensor.shape[-2:])
