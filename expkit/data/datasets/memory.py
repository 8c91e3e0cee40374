"""Images that lie in memory as arrays, and those that another library's dataset object gives one by one."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from expkit.data.dataset import ImageDataset


class ImageArrays(ImageDataset):
    """Images as one array, (N, H, W, 3) or (N, H, W) uint8; grey ones become three equal channels."""

    in_memory = True

    def __init__(self, images: NDArray[np.uint8], targets: Any, class_names: Sequence[str], split: str) -> None:
        self.images, self.split, self.class_names = images, split, tuple(class_names)
        self.targets = np.asarray(targets, dtype=np.int64)

    def sample_name(self, index: int) -> str:
        return f"{self.split}/{index}"

    def image(self, index: int) -> Tensor:
        return to_tensor(self.images[index])


class ReadByLibrary(ImageDataset):
    """Images that a function reads by index, as Pillow images."""

    def __init__(
        self, read: Callable[[int], Image.Image], targets: Any, class_names: Sequence[str], split: str
    ) -> None:
        self.read, self.split, self.class_names = read, split, tuple(class_names)
        self.targets = np.asarray(targets, dtype=np.int64)

    def sample_name(self, index: int) -> str:
        return f"{self.split}/{index}"

    def image(self, index: int) -> Tensor:
        return to_tensor(np.array(self.read(index).convert("RGB")))


def to_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """(H, W, 3) or (H, W) uint8 -> (3, H, W) uint8."""
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
