"""From an order to batches of uint8 images, the same ones for any number of workers."""

import os
import signal
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from expkit.data.dataset import ImageDataset
from expkit.data.decode import BadImage
from expkit.data.samplers import Order
from expkit.data.transforms import Chain
from expkit.keys import generator, key, seed_cpu
from expkit.registry import ConfigError


class Place(NamedTuple):
    """Where a sample stands in a run: the epoch, its position in the epoch's order, and its number in the dataset."""

    epoch: int
    position: int
    sample: int


class Batch(NamedTuple):
    """images: (N, 3, H, W) uint8; targets: (N,) int64 or (N, C) float32; indices: (N,) int64 into the dataset."""

    images: Tensor
    targets: Tensor
    indices: Tensor


class KeyedBatches(Sampler[list[Place]]):
    """The places of each batch of an epoch; `jump` to any epoch and step costs nothing."""

    def __init__(self, order: Order, seed: int, batch_size: int, drop_last: bool) -> None:
        self.order, self.seed, self.batch_size, self.drop_last = order, seed, batch_size, drop_last
        self.epoch = self.start = 0

    def jump(self, epoch: int, start: int) -> None:
        self.epoch, self.start = epoch, start

    def __len__(self) -> int:
        full, rest = divmod(len(self.order), self.batch_size)
        return full if self.drop_last or not rest else full + 1

    def __iter__(self) -> Iterator[list[Place]]:
        indices = self.order.draw(generator(key(self.seed, "order", self.epoch)))
        for batch in range(self.start, len(self)):
            first = batch * self.batch_size
            chosen = indices[first : first + self.batch_size].tolist()
            yield [Place(self.epoch, first + offset, index) for offset, index in enumerate(chosen)]


class Samples(Dataset[Batch | Exception]):
    """A dataset with its transforms, read by places: each sample's randomness is its own, keyed by its place.

    purpose keeps the draws of training ("sample") apart from those of evaluation ("eval").
    """

    def __init__(self, dataset: ImageDataset, chain: Chain, seed: int, purpose: str) -> None:
        self.dataset, self.chain, self.seed, self.purpose = dataset, chain, seed, purpose

    def __getitems__(self, places: list[Place]) -> Batch | Exception:
        """Return a whole batch, stacked as uint8 by the worker itself.

        What a user can mend comes back as a value: raised in a worker, it would lose its type on the way.
        """
        indices = [place.sample for place in places]
        try:
            images = _stack([self.image(place) for place in places])
        except (BadImage, ConfigError) as error:
            return error
        targets = torch.from_numpy(self.dataset.targets[indices])
        return Batch(images, targets, torch.tensor(indices))

    def image(self, place: Place) -> Tensor:
        image = self.dataset.image(place.sample)
        # Position and not index: a weighted sampler may draw an index twice, to be augmented in two ways.
        seed_cpu(key(self.seed, self.purpose, place.epoch, place.position))
        return self.chain(image)


def _stack(images: list[Tensor]) -> Tensor:
    shapes = {tuple(image.shape) for image in images}
    if len(shapes) > 1:
        sizes = ", ".join(f"{width}×{height}" for _, height, width in sorted(shapes)[:3])
        raise ConfigError(
            f"transforms: images of one batch differ in size ({sizes}); end the list with a crop,"
            " or with {name: Resize, size: [height, width]}"
        )
    return torch.stack(images)


class Loader:
    """Batches of an epoch, from any step of it on.

    num_workers: processes that read and transform; 0 reads in the training process. timeout: seconds after which a
    worker that gives nothing is an error. pin_memory: for asynchronous copies to a CUDA device.
    """

    def __init__(
        self,
        samples: Samples,
        order: Order,
        batch_size: int,
        *,
        num_workers: int = 0,
        drop_last: bool = False,
        timeout: float = 60.0,
        pin_memory: bool = False,
    ) -> None:
        self.batches = KeyedBatches(order, samples.seed, batch_size, drop_last)
        self.samples = samples
        workers: dict[str, Any] = {}
        if num_workers:
            workers = {"persistent_workers": True, "timeout": timeout, "worker_init_fn": _quiet_worker}
            workers["multiprocessing_context"] = "fork" if os.name == "posix" else "spawn"
        self._loader: DataLoader[Batch | Exception] = DataLoader(
            samples,
            batch_sampler=self.batches,
            collate_fn=_as_is,
            num_workers=num_workers,
            pin_memory=pin_memory,
            generator=torch.Generator(),  # the loader draws a seed for its workers: not from the default generator
            **workers,
        )

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from batch number `start` on; no earlier image is opened.

        Raises BadImage for a file that cannot be read, ConfigError for images that do not stack.
        """
        self.batches.jump(epoch, start)
        for batch in self._loader:
            if isinstance(batch, Exception):
                raise batch
            yield batch


def _as_is(batch: Any) -> Any:
    return batch


def _quiet_worker(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the training process's to answer: it ends the workers
