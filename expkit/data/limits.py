"""Part of a dataset: which samples limit_train_batches and limit_eval_batches keep."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from expkit.core.seeding import derive_seed, generator
from expkit.data.dataset import ImageDataset
from expkit.data.samplers import Order

Indices = NDArray[np.int64]


def spread_over_classes(targets: NDArray[Any], keys: NDArray[np.uint64], count: int) -> Indices:
    """Return the sorted positions of `count` targets: one of each class, then in proportion to class sizes.

    Within a class, and for multilabel targets, samples are chosen by key.
    """
    classes = targets if targets.ndim == 1 else np.zeros(len(targets), dtype=np.int64)
    order = np.lexsort((keys, classes))
    _, starts, sizes = np.unique(classes[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(starts, sizes)  # within its class
    share = np.where(rank == 0, 0.0, (rank + 0.5) / np.repeat(sizes, sizes))
    taken = order[np.lexsort((keys[order], share))[:count]]
    return np.sort(taken)


class NoSamples(Order):
    """The order for a run without validation images."""

    def __init__(self) -> None:
        self.length, self.notes = 0, []
        self.draw = lambda generator: np.empty(0, dtype=np.int64)


def evaluation_order(data: ImageDataset, seed: int, size: int, limit: int | None) -> Order:
    """Return the order of evaluation: every sample once, or `limit` batches spread over the classes."""
    if not len(data):
        return NoSamples()
    if limit is None or limit * size >= len(data):
        return Order(len(data), lambda generator: np.arange(len(data)))
    chosen = spread_over_classes(data.targets, _keys(data, seed, np.arange(len(data))), limit * size)
    note = f"evaluates {_share(len(chosen), len(data), 'validation', 'eval', limit)}, spread over the classes by key"
    return Order(len(chosen), lambda generator: chosen, [f"{note}: all validation scores are of this subset"])


def training_order(order: Order, data: ImageDataset, seed: int, size: int, limit: int | None) -> Order:
    """Return the order, limited by limit_train_batches to samples of all classes.

    Only an order that is the same in each epoch is changed: the first batches of a shuffled one contain all classes.
    """
    if limit is None or limit * size >= len(order):
        return order
    places = order.draw(generator(0))
    if not np.array_equal(places, order.draw(generator(1))):
        return order
    taken = places[spread_over_classes(data.targets[places], _keys(data, seed, places), limit * size)]
    note = f"trains on {_share(len(taken), len(order), 'training', 'train', limit)}, spread over the classes by key"
    return Order(len(taken), lambda generator: taken, [*order.notes, note])


def _share(count: int, images: int, what: str, option: str, limit: int) -> str:
    return f"{count:,} of {images:,} {what} images (limit_{option}_batches={limit})"


def _keys(data: ImageDataset, seed: int, places: Indices) -> NDArray[np.uint64]:
    names = (data.sample_name(place) for place in places.tolist())
    return np.fromiter((derive_seed(seed, "subset", name) for name in names), np.uint64, len(places))
