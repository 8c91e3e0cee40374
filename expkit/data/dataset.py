"""The dataset interface: images read by index; names and targets are known without reading images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from expkit.core.errors import ConfigError
from expkit.data.decode import Decoder

Task = Literal["single_label", "multilabel", "regression", "segmentation", "reconstruction"]


class ImageDataset:
    """Images with targets, read by index: override `encoded` for files, otherwise `image`.

    Keep only read-only state, in arrays, so that forked workers share it.

    task: what its targets are. class_names: name of each class (single_label, multilabel, segmentation: of the mask's
    values), of each number (regression), of each channel (reconstruction). targets, by task:
    - single_label: (N,) int64 class indices; multilabel: (N, C) float32 of 0 and 1
    - regression: (N, K) float32 numbers
    - segmentation, reconstruction: (N,) int64, what splits and samplers balance; what is learned is read by `target`.
    """

    class_names: tuple[str, ...]
    targets: NDArray[np.int64] | NDArray[np.float32]
    task: Task = "single_label"
    reads_targets: bool = False  # True if `target` reads what is learned, beside each image
    in_memory: bool = False  # True if images are read so quickly that workers would slow them down
    decoder: Decoder = Decoder()  # how encoded images become pixels; `decode_with` sets another
    other_tasks: Mapping[str, Callable[["ImageDataset"], "ImageDataset"]] = {}  # what makes a view with their targets

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

    def target(self, index: int) -> Tensor:
        """Return what is learned from the image, which the transforms move with it. Raises BadImage.

        segmentation: a Mask of torchvision's tv_tensors, (H, W) uint8, the class of each pixel, 255 where it is not
        known.
        """
        raise NotImplementedError(f"{type(self).__name__} gives no target(); its task is {self.task}")

    def for_task(self, task: str) -> "ImageDataset":
        """Return the same images with the targets of another task. Raises ConfigError if they have none."""
        if task == self.task:
            return self
        if make := self.other_tasks.get(task):
            return make(self)
        if task == "reconstruction":
            return ImagesAlone(self)
        known = ", ".join([self.task, *self.other_tasks, "reconstruction"])
        raise ConfigError(f"task.name: this data set has no targets for {task}; it has those for {known}")

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
        self.reads_targets = dataset.reads_targets

    def decode_with(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self.dataset.decode_with(decoder)

    def for_task(self, task: str) -> ImageDataset:
        return self if task == self.task else Subset(self.dataset.for_task(task), self.indices)

    def target(self, index: int) -> Tensor:
        return self.dataset.target(int(self.indices[index]))

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


class ImagesAlone(Subset):
    """The images of a dataset, which are their own targets."""

    def __init__(self, dataset: ImageDataset) -> None:
        super().__init__(dataset, np.arange(len(dataset)))
        self.class_names, self.task, self.reads_targets = ("red", "green", "blue"), "reconstruction", False
        if self.targets.ndim == 2:  # nothing to balance
            self.targets = np.zeros(len(dataset), dtype=np.int64)


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
