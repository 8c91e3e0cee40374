"""What a dataset is here: images that can be read by index, whose names and targets are known without reading them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from expkit.data.decode import Decoder

Task = Literal["single_label", "multilabel"]


class ImageDataset:
    """A set of labelled images, read by index: override `encoded` for files, else `image`.

    It holds read-only state only, in arrays, so that forked workers share it.

    class_names: the word of each class; targets: (N,) int64 class indices, or (N, C) float32 of 0 and 1 for the
    task "multilabel"; task: "single_label" or "multilabel".
    """

    class_names: tuple[str, ...]
    targets: NDArray[np.int64] | NDArray[np.float32]
    task: Task = "single_label"
    in_memory: bool = False  # whether reading an image costs so little that worker processes would only slow it
    decoder: Decoder = Decoder()  # how encoded images become pixels; `decode_with` sets another

    def __len__(self) -> int:
        return len(self.targets)

    def decode_with(self, decoder: Decoder) -> None:
        """Set how encoded images become pixels."""
        self.decoder = decoder

    def encoded(self, index: int) -> bytes | None:
        """Return the image as it lies in its file, None for a set without files. Raises BadImage."""
        return None

    def image(self, index: int) -> Tensor:
        """Return the image as (3, H, W) uint8, values 0 to 255. Raises BadImage when it cannot be read."""
        data = self.encoded(index)
        if data is None:
            raise NotImplementedError(f"{type(self).__name__} gives neither encoded() nor image()")
        return self.decoder.decode(data, self.location(index))

    def images(self, indices: NDArray[np.int64]) -> Tensor | None:
        """Return many images at once, (N, 3, H, W) uint8, from a set in memory whose images are of one size."""
        return None

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
    """What a dataset factory returns: the training images and, where the data has them, those held out.

    notes: what the run should tell its user. held_out: whether validation is a share of the training data's files.
    test: images that a run neither trains nor validates on.
    """

    train: ImageDataset
    val: ImageDataset | None = None
    notes: Sequence[str] = ()
    held_out: bool = False
    test: ImageDataset | None = None

    def listed_name(self, split: str, name: str) -> str:
        """Return a sample's name in a list of bad files, where names of both splits stand together."""
        return name if split == "train" or self.held_out else f"{split}/{name}"
