"""Validation splits, folds and label noise: keyed by sample name, so identical on every machine."""

import numpy as np
from numpy.typing import NDArray

from expkit.core.seeding import derive_seed
from expkit.data.dataset import ImageDataset, Subset

Indices = NDArray[np.int64]


def hold_out(dataset: ImageDataset, fraction: float, seed: int) -> tuple[Subset, Subset]:
    """Return (train, val), with `fraction` of each class's samples in val.

    Samples of a class are ranked by the key of their names, so neither the order of the listing nor the machine
    matters, and adding files moves few others. A class of two or more has at least one sample on each side.
    Multilabel data is split without regard to classes.
    """
    keys = _keys(dataset, "split", seed)
    classes = dataset.targets if dataset.targets.ndim == 1 else np.zeros(len(dataset), dtype=np.int64)
    held_out = [_first_by_key(np.flatnonzero(classes == label), keys, fraction) for label in np.unique(classes)]
    val = np.sort(np.concatenate(held_out))
    train = np.setdiff1d(np.arange(len(dataset)), val)
    return Subset(dataset, train), Subset(dataset, val)


def no_images(dataset: ImageDataset) -> Subset:
    """Return an empty subset: the validation split of a run without validation."""
    return Subset(dataset, np.empty(0, dtype=np.int64))


def fold_of(dataset: ImageDataset, folds: int, seed: int) -> Indices:
    """Return the fold of each sample, (N,), 0 to folds - 1, for stratified k-fold cross-validation.

    Samples, sorted by class and then by the key of their names, are assigned to the folds in turn, so that the sizes
    of folds differ by at most one, in total and per class. Multilabel data is assigned without regard to classes.
    """
    keys = _keys(dataset, "fold", seed)
    classes = dataset.targets if dataset.targets.ndim == 1 else np.zeros(len(dataset), dtype=np.int64)
    order = np.lexsort((keys, classes))
    folds_of = np.empty(len(dataset), dtype=np.int64)
    folds_of[order] = np.arange(len(dataset)) % folds
    return folds_of


def take_fold(dataset: ImageDataset, fold: int, folds: int, seed: int) -> tuple[Subset, Subset]:
    """Return (train, val): val is the given fold, train all others."""
    held_out = fold_of(dataset, folds, seed) == fold
    return Subset(dataset, np.flatnonzero(~held_out)), Subset(dataset, np.flatnonzero(held_out))


def with_label_noise(dataset: ImageDataset, share: float, seed: int) -> Subset:
    """Return the dataset with symmetric label noise: a fraction `share` of samples gets another class, by key.

    The samples and their new classes depend only on the seed and the sample names.
    """
    keys, count, classes = _keys(dataset, "label_noise", seed), round(share * len(dataset)), len(dataset.class_names)
    chosen = np.argsort(keys, kind="stable")[:count]
    shifts = 1 + (_keys(dataset, "label_noise_class", seed)[chosen] % np.uint64(classes - 1)).astype(np.int64)
    noisy = Subset(dataset, np.arange(len(dataset)))
    noisy.targets = dataset.targets.copy()
    noisy.targets[chosen] = (noisy.targets[chosen] + shifts) % classes
    return noisy


def _keys(dataset: ImageDataset, purpose: str, seed: int) -> NDArray[np.uint64]:
    names = (dataset.sample_name(index) for index in range(len(dataset)))
    return np.fromiter((derive_seed(seed, purpose, name) for name in names), np.uint64, len(dataset))


def _first_by_key(members: Indices, keys: NDArray[np.uint64], fraction: float) -> Indices:
    if len(members) < 2:
        return members[:0]
    count = min(max(round(fraction * len(members)), 1), len(members) - 1)
    return members[np.argsort(keys[members], kind="stable")][:count]
