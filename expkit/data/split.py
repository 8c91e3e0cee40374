"""A held-out validation split where the data has none: stratified, by key, the same on every machine."""

import numpy as np
from numpy.typing import NDArray

from expkit.data.dataset import ImageDataset, Subset
from expkit.keys import key

Indices = NDArray[np.int64]


def hold_out(dataset: ImageDataset, fraction: float, seed: int) -> tuple[Subset, Subset]:
    """Return (train, val), with `fraction` of each class's samples in val.

    A sample's rank within its class is the key of its name, so neither the order of the listing nor the machine
    matters, and adding files moves few others. A class of two or more has at least one sample on each side.
    Multilabel data, which has no one class a sample, is split as a whole.
    """
    names = (dataset.sample_name(index) for index in range(len(dataset)))
    keys = np.fromiter((key(seed, "split", name) for name in names), np.uint64, len(dataset))
    classes = dataset.targets if dataset.targets.ndim == 1 else np.zeros(len(dataset), dtype=np.int64)
    held_out = [_first_by_key(np.flatnonzero(classes == one), keys, fraction) for one in np.unique(classes)]
    val = np.sort(np.concatenate(held_out))
    train = np.setdiff1d(np.arange(len(dataset)), val)
    return Subset(dataset, train), Subset(dataset, val)


def _first_by_key(members: Indices, keys: NDArray[np.uint64], fraction: float) -> Indices:
    if len(members) < 2:
        return members[:0]
    count = min(max(round(fraction * len(members)), 1), len(members) - 1)
    return members[np.argsort(keys[members], kind="stable")][:count]
