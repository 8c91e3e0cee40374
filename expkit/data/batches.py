"""Samples and batches: a dataset with its transforms, each sample seeded by its epoch and position."""

from collections.abc import Iterator
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from expkit.config.plugins import BringsPlugins
from expkit.core.errors import ConfigError
from expkit.core.seeding import derive_seed, generator, seed_cpu, seed_torch
from expkit.data import region_decode
from expkit.data.dataset import ImageDataset
from expkit.data.decode import BadImage
from expkit.data.growth import Unfit
from expkit.data.shared_memory import Slots
from expkit.data.targets import check_mask
from expkit.data.transforms import Chain

OnBad = Literal["fail", "skip", "replace"]


class BatchIndices(NamedTuple):
    """The samples of a batch: the epoch, the position of the first sample in its order, and the dataset indices."""

    epoch: int
    first: int
    indices: NDArray[np.int64]


class BadSample(NamedTuple):
    """A sample that could not be read: its index in the dataset, its location and the reason."""

    sample: int
    location: str
    reason: str


class Batch(NamedTuple):
    """images: (N, 3, H, W) uint8; targets: (N, …), by the dataset's task; indices: (N,) int64 into the dataset.

    bad: samples that were skipped or replaced; N is 0 if all were skipped. total: size of the whole batch, if this is
    one rank's part of it.
    """

    images: Tensor
    targets: Tensor
    indices: Tensor
    bad: tuple[BadSample, ...] = ()
    total: int = 0


class Samples(BringsPlugins, Dataset[Batch | Exception]):
    """A dataset with its transforms, read one batch at a time.

    purpose separates the seeds of training ("sample") from those of evaluation ("eval"). on_bad: what to do with an
    unreadable sample: "fail", "skip" (the batch is smaller) or "replace" (by another of its class, by key).
    """

    def __init__(self, dataset: ImageDataset, chain: Chain, seed: int, purpose: str, on_bad: OnBad = "fail") -> None:
        self.dataset, self.chain, self.seed, self.purpose, self.on_bad = dataset, chain, seed, purpose, on_bad
        self.slots: Slots | None = None  # the shared memory of a worker
        # True if images can be read many at once, at almost no cost.
        self.in_batches = (
            chain.is_fixed and not dataset.reads_targets and dataset.images(np.empty(0, dtype=np.int64)) is not None
        )
        self._seed = seed_torch if chain.only_torch else seed_cpu
        first = chain.steps[0] if chain.steps else None
        self.crops_first = type(first) is v2.RandomResizedCrop
        self._crop = first if self.crops_first and dataset.decoder.region and not dataset.reads_targets else None

    def __getitems__(self, batch: BatchIndices) -> Batch | Exception:
        """Return a whole batch, stacked as uint8 in the worker.

        Errors that a user can fix are returned: raised in a worker, they would lose their type on the way.
        """
        images = self.dataset.images(batch.indices) if self.in_batches and len(batch.indices) else None
        try:
            if images is not None:
                return self._batch(self.chain(images), batch.indices)
        except Unfit:  # reported below, sample by sample
            pass
        try:
            return self._one_by_one(batch)
        except (BadImage, ConfigError) as error:
            return error

    def _one_by_one(self, batch: BatchIndices) -> Batch:
        stack, indices, bad, targets = _Stack(len(batch.indices), self.slots), [], [], list[Tensor]()
        for offset, index in enumerate(batch.indices.tolist()):
            # Seeded by position, not index: a weighted sampler may draw an index twice, to be augmented differently.
            position = batch.first + offset
            try:
                image, target = self.sample(index, batch.epoch, position)
            except BadImage as error:
                if self.on_bad == "fail":
                    raise
                bad.append(BadSample(index, error.location, error.reason))
                if self.on_bad == "skip":
                    continue
                index, image, target = self._replacement(index, batch.epoch, position, error)
            stack.add(image)
            indices.append(index)
            if target is not None:
                targets.append(target)
        read = _stacked_targets(targets) if self.dataset.reads_targets else None
        return self._batch(stack.images(), np.array(indices, dtype=np.int64), tuple(bad), read)

    def _batch(
        self, images: Tensor, indices: NDArray[np.int64], bad: tuple[BadSample, ...] = (), targets: Tensor | None = None
    ) -> Batch:
        targets = torch.from_numpy(self.dataset.targets[indices]) if targets is None else targets
        return Batch(images, targets, torch.from_numpy(indices), bad)

    def sample(self, index: int, epoch: int, position: int) -> tuple[Tensor, Tensor | None]:
        """Return the transformed image for this position of this epoch, and its target if it is read beside it.

        Raises BadImage.
        """
        if not self.dataset.reads_targets:
            return self.image(index, epoch, position), None
        image, target = self.dataset.image(index), self.dataset.target(index)
        if self.dataset.task == "segmentation":
            check_mask(target, image, len(self.dataset.class_names), self.dataset.location(index))
        if not self.chain.is_fixed:
            self._seed(derive_seed(self.seed, self.purpose, epoch, position))
        return self.chain.apply_with_target(image, target, partial(self.dataset.location, index))

    def image(self, index: int, epoch: int, position: int) -> Tensor:
        """Return the transformed image for this position of this epoch. Raises BadImage."""
        sample_seed = derive_seed(self.seed, self.purpose, epoch, position)
        if self._crop is not None and (image := self._cropped(index, sample_seed)) is not None:
            return self.chain.apply_to_sample(image, partial(self.dataset.location, index), done=1)
        image = self.dataset.image(index)
        if not self.chain.is_fixed:
            self._seed(sample_seed)
        return self.chain.apply_to_sample(image, partial(self.dataset.location, index))

    def _cropped(self, index: int, sample_seed: int) -> Tensor | None:
        """Return the image after RandomResizedCrop, its first step; None if a region of it cannot be decoded."""
        assert self._crop is not None
        data = self.dataset.encoded(index)
        size = data and self.dataset.decoder.jpeg_size(data, self.dataset.location(index))
        if not data or not size:
            return None
        self._seed(sample_seed)
        return region_decode.cropped(self._crop, data, size)

    def _replacement(self, bad: int, epoch: int, position: int, error: BadImage) -> tuple[int, Tensor, Tensor | None]:
        """Return (index, image, target) of the first readable sample of the same class, in keyed order."""
        for index in self._same_class(bad, derive_seed(self.seed, "replace", epoch, position)):
            try:
                return index, *self.sample(index, epoch, position)
            except BadImage:
                continue
        raise BadImage(error.location, f"{error.reason}; and no other sample of its class can be read")

    def _same_class(self, bad: int, sample_seed: int) -> Iterator[int]:
        targets = self.dataset.targets
        same = targets == targets[bad]
        members = np.flatnonzero(same if targets.ndim == 1 else same.all(axis=1))
        if self.dataset.task == "regression":  # no two have the same numbers
            members = np.arange(len(targets))
        members = members[members != bad]
        yield from members[torch.randperm(len(members), generator=generator(sample_seed)).numpy()].tolist()


def _stacked_targets(targets: list[Tensor]) -> Tensor:
    """Return (N, …) of N targets of one shape. Raises ConfigError if they differ."""
    if len(shapes := sorted({tuple(target.shape) for target in targets})) > 1:
        shown = ", ".join("×".join(map(str, shape)) for shape in shapes)
        raise ConfigError(f"transforms: targets of one batch differ in size ({shown}); end the list with a crop")
    return torch.stack(targets) if targets else torch.empty(0)


class _Stack:
    """A batch filled image by image, directly in the memory in which it is sent."""

    def __init__(self, size: int, slots: Slots | None) -> None:
        self._size, self._slots, self._count = size, slots, 0
        self._pixels = torch.empty(0, 3, 0, 0, dtype=torch.uint8)

    def add(self, image: Tensor) -> None:
        """Append an image, (3, H, W) uint8. Raises ConfigError if its size differs."""
        if not self._count:
            self._pixels = self._empty(image)
        if image.shape != self._pixels.shape[1:]:
            sizes = sorted(f"{each.shape[-1]}×{each.shape[-2]}" for each in (image, self._pixels))
            raise ConfigError(
                f"transforms: images of one batch differ in size ({', '.join(sizes)}); end the list with a crop,"
                " or with {name: Resize, size: [height, width]}"
            )
        self._pixels[self._count] = image
        self._count += 1

    def _empty(self, image: Tensor) -> Tensor:
        # The memory layout follows the image, so that copying is a plain memcpy.
        channels_last = image.stride(0) == 1
        shape = (self._size, *(image.movedim(0, -1) if channels_last else image).shape)
        pixels = self._slots.empty(shape) if self._slots else torch.empty(shape, dtype=torch.uint8)
        return pixels.movedim(-1, 1) if channels_last else pixels

    def images(self) -> Tensor:
        """Return the images added so far, (N, 3, H, W) uint8."""
        return self._pixels[: self._count]
