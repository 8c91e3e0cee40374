"""The dataset interface: images read by index; names and targets are known without reading images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from expkit.data.decode import Decoder

Task = Literal["single_label", "multilabel"]


class ImageDataset:
    """Labelled images, read by index: override `encoded` for files, otherwise `image`.

    Keep only read-only state, in arrays, so that forked workers share it.

    class_names: name of each class; targets: (N,) int64 class indices, or (N, C) float32 of 0 and 1 if task is
    "multilabel"; task: "single_label" or "multilabel".
    """

    class_names: tuple[str, ...]
    targets: NDArray[np.int64] | NDArray[np.float32]
    task: Task = "single_label"
    in_memory: bool = False  # True if images are read so quickly that workers would slow them down
    decoder: Decoder = Decoder()  # how encoded images become pixels; `decode_with` sets another

    def __len__(self) -> int:
        return len(self.targets)

    def decode_with(self, decoder: Decoder) -> None:
        """Set how encoded images become pixels."""
        self.decoder = decoder

    def encoded(self, index: int) -> bytes | None:
        """Return the bytes of the image file, None for a dataset without files. Raises BadImage."""
        return None

    def image(self, index: int) -> Tensor:
        """Return the image as (3, H, W) uint8, values 0 to 255. Raises BadImage if it cannot be read."""
        data = self.encoded(index)
        if data is None:
            raise NotImplementedError(f"{type(self).__name__} gives neither encoded() nor image()")
        return self.decoder.decode(data, self.location(index))

    def images(self, indices: NDArray[np.int64]) -> Tensor | None:
        """Return several images, (N, 3, H, W) uint8, if the dataset is in memory with images of one size, else None."""
        return None

    def sample_name(self, index: int) -> str:
        """Return a name that identifies the sample on any machine: its path relative to the root, or `train/17`."""
        raise NotImplementedError

    def location(self, index: int) -> str:
        """Return the sample's location on this machine, for messages."""
        return self.sample_name(index)


class Subset(ImageDataset):
    """Some samples of a dataset, by index, in the order given."""

    def __init__(self, dataset: ImageDataset, indices: NDArray[np.int64]) -> None:
        self.dataset = dataset
        self.indices = indices
        self.class_names = dataset.class_names
        self.targets = dataset.targets[indices]
        self.task, self.in_memory, self.decoder = dataset.task, dataset.in_memory, dataset.decoder

    def decode_with(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self.dataset.decode_with(decoder)

    def encoded(self, index: int) -> bytes | None:
        return self.dataset.encoded(int(self.indices[index]))

    def image(self, index: int) -> Tensor:
        return self.dataset.image(int(self.indices[index]))

    def images(self, indices: NDArray[np.int64]) -> Tensor | None:
        return self.dataset.images(self.indices[indices])

    def sample_name(self, index: int) -> str:
        return self.dataset.sample_name(int(self.indices[index]))

    def location(self, index: int) -> str:
        return self.dataset.location(int(self.indices[index]))


@dataclass(frozen=True)
class Splits:
    """What a dataset factory returns: the training images and, if there are any, validation and test images.

    notes: messages for the user. held_out: True if the validation images were split off the training files.
    test: images used for neither training nor validation.
    """

    train: ImageDataset
    val: ImageDataset | None = None
    notes: Sequence[str] = ()
    held_out: bool = False
    test: ImageDataset | None = None

    def listed_name(self, split: str, name: str) -> str:
        """Return a sample's name in a list of bad files, which contains names of both splits."""
        return name if split == "train" or self.held_out else f"{split}/{name}"
