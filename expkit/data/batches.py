"""Samples by place: a dataset with its transforms, each sample's randomness keyed by where it stands in the run."""

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
from expkit.data.transforms import Chain

OnBad = Literal["fail", "skip", "replace"]


class Places(NamedTuple):
    """Where the samples of a batch stand in a run: the epoch, the first one's position in its order, their indices."""

    epoch: int
    first: int
    indices: NDArray[np.int64]


class BadSample(NamedTuple):
    """A sample that could not be read: its index in the dataset, where it lies, and why."""

    sample: int
    location: str
    reason: str


class Batch(NamedTuple):
    """images: (N, 3, H, W) uint8; targets: (N,) int64 or (N, C) float32; indices: (N,) int64 into the dataset.

    bad: the samples that were left out or replaced; where all were left out, N is 0. total: samples of the whole
    batch, where this is one rank's part of it.
    """

    images: Tensor
    targets: Tensor
    indices: Tensor
    bad: tuple[BadSample, ...] = ()
    total: int = 0


class Samples(BringsPlugins, Dataset[Batch | Exception]):
    """A dataset with its transforms, read by places, a batch at a time.

    purpose keeps the draws of training ("sample") apart from those of evaluation ("eval"). on_bad: what becomes of a
    sample that cannot be read: "fail", "skip" (the batch is smaller) or "replace" (another one of its class, by key).
    """

    def __init__(self, dataset: ImageDataset, chain: Chain, seed: int, purpose: str, on_bad: OnBad = "fail") -> None:
        self.dataset, self.chain, self.seed, self.purpose, self.on_bad = dataset, chain, seed, purpose, on_bad
        self.slots: Slots | None = None  # a worker's shared memory
        # Whether images come many at once, which costs next to nothing.
        self.in_batches = chain.is_fixed and dataset.images(np.empty(0, dtype=np.int64)) is not None
        self._seed = seed_torch if chain.only_torch else seed_cpu
        first = chain.steps[0] if chain.steps else None
        self.crops_first = type(first) is v2.RandomResizedCrop
        self._crop = first if self.crops_first and dataset.decoder.region else None

    def __getitems__(self, places: Places) -> Batch | Exception:
        """Return a whole batch, stacked as uint8 by the worker itself.

        What a user can fix comes back as a value: raised in a worker, it would lose its type on the way.
        """
        whole = self.dataset.images(places.indices) if self.in_batches and len(places.indices) else None
        try:
            if whole is not None:
                return self._batch(self.chain(whole), places.indices)
        except Unfit:  # told of below, sample by sample
            pass
        try:
            return self._one_by_one(places)
        except (BadImage, ConfigError) as error:
            return error

    def _one_by_one(self, places: Places) -> Batch:
        stack, indices, bad = _Stack(len(places.indices), self.slots), [], []
        for offset, index in enumerate(places.indices.tolist()):
            # Position and not index: a weighted sampler may draw an index twice, to be augmented in two ways.
            position = places.first + offset
            try:
                image = self.image(index, places.epoch, position)
            except BadImage as error:
                if self.on_bad == "fail":
                    raise
                bad.append(BadSample(index, error.location, error.reason))
                if self.on_bad == "skip":
                    continue
                index, image = self._replacement(index, places.epoch, position, error)
            stack.add(image)
            indices.append(index)
        return self._batch(stack.images(), np.array(indices, dtype=np.int64), tuple(bad))

    def _batch(self, images: Tensor, indices: NDArray[np.int64], bad: tuple[BadSample, ...] = ()) -> Batch:
        return Batch(images, torch.from_numpy(self.dataset.targets[indices]), torch.from_numpy(indices), bad)

    def image(self, index: int, epoch: int, position: int) -> Tensor:
        """Return one transformed image, as it stands at this position of this epoch. Raises BadImage."""
        own = derive_seed(self.seed, self.purpose, epoch, position)
        if self._crop is not None and (image := self._cropped(index, own)) is not None:
            return self.chain.of_sample(image, partial(self.dataset.location, index), done=1)
        image = self.dataset.image(index)
        if not self.chain.is_fixed:
            self._seed(own)
        return self.chain.of_sample(image, partial(self.dataset.location, index))

    def _cropped(self, index: int, own: int) -> Tensor | None:
        """Return the image after its first step, RandomResizedCrop, None where its region cannot be decoded alone."""
        assert self._crop is not None
        data = self.dataset.encoded(index)
        size = data and self.dataset.decoder.jpeg_size(data, self.dataset.location(index))
        if not data or not size:
            return None
        self._seed(own)
        return region_decode.cropped(self._crop, data, size)

    def _replacement(self, bad: int, epoch: int, position: int, error: BadImage) -> tuple[int, Tensor]:
        """Return (index, image) of another sample of the same class, the first by key that can be read."""
        for index in self._others(bad, derive_seed(self.seed, "replace", epoch, position)):
            try:
                return index, self.image(index, epoch, position)
            except BadImage:
                continue
        raise BadImage(error.location, f"{error.reason}; and no other sample of its class can be read")

    def _others(self, bad: int, own: int) -> Iterator[int]:
        targets = self.dataset.targets
        same = targets == targets[bad]
        members = np.flatnonzero(same if targets.ndim == 1 else same.all(axis=1))
        members = members[members != bad]
        yield from members[torch.randperm(len(members), generator=generator(own)).numpy()].tolist()


class _Stack:
    """A batch that grows image by image, in the memory that it will be handed over in."""

    def __init__(self, size: int, slots: Slots | None) -> None:
        self._size, self._slots, self._count = size, slots, 0
        self._whole = torch.empty(0, 3, 0, 0, dtype=torch.uint8)

    def add(self, image: Tensor) -> None:
        """Copy an image, (3, H, W) uint8, behind those that are there. Raises ConfigError when its size is another."""
        if not self._count:
            self._whole = self._empty(image)
        if image.shape != self._whole.shape[1:]:
            sizes = sorted(f"{one.shape[-1]}×{one.shape[-2]}" for one in (image, self._whole))
            raise ConfigError(
                f"transforms: images of one batch differ in size ({', '.join(sizes)}); end the list with a crop,"
                " or with {name: Resize, size: [height, width]}"
            )
        self._whole[self._count] = image
        self._count += 1

    def _empty(self, image: Tensor) -> Tensor:
        # Channels lie together or apart as in the image (decoded, or made anew), so that copying it is a plain copy.
        together = image.stride(0) == 1
        shape = (self._size, *(image.movedim(0, -1) if together else image).shape)
        whole = self._slots.empty(shape) if self._slots else torch.empty(shape, dtype=torch.uint8)
        return whole.movedim(-1, 1) if together else whole

    def images(self) -> Tensor:
        """Return (N, 3, H, W) uint8, those that were added."""
        return self._whole[: self._count]
