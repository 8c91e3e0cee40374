"""Checks of a dataset's class names and targets, all in one place and before any use."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from expkit.core.errors import ConfigError, nearest
from expkit.core.formatting import count_noun
from expkit.data.dataset import ImageDataset, Splits, Subset, Task

_TASKS: tuple[str, ...] = get_args(Task)


def unique_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return unique class names: duplicates get the number of their class, from 0.

    Also applied to the names in checkpoints and records of version 0.1, so that they match their data.
    """
    names = [str(name) for name in names or ()]
    counts, taken = Counter(names), set(names)
    unique = []
    for number, name in enumerate(names):
        if counts[name] > 1:
            name = f"{name} (class {number})"
            while name in taken:
                name += f" (class {number})"
            taken.add(name)
        unique.append(name)
    return tuple(unique)


def check_labels(splits: Any, name: str) -> Splits:
    """Return the splits of a dataset factory with unique class names and targets that can be trained on.

    Converts losslessly (lists, torch tensors, other integer types) and refuses everything else. name: of the dataset,
    for messages. Raises ConfigError.
    """
    if not isinstance(splits, Splits):
        kind = type(splits).__name__
        raise ConfigError(
            f"dataset.name: '{name}' returned {kind}; a dataset factory returns expkit.data.dataset.Splits"
        )
    given = _class_names(splits.train, name, "train")
    names = unique_names(given)
    parts = {part: data for part in ("train", "val", "test") if (data := getattr(splits, part)) is not None}
    checked = {part: _checked(data, name, part) for part, data in parts.items()}
    for part, data in checked.items():
        if data.task != splits.train.task:
            raise ConfigError(f"dataset: task is {splits.train.task} in train and {data.task} in {part} of '{name}'")
        if (theirs := _class_names(data, name, part)) not in (given, names):
            differ = next((pair for pair in zip(given, theirs, strict=False) if pair[0] != pair[1]), None)
            shown = f"{differ[0]} and {differ[1]}" if differ else f"{len(given)} and {count_noun(len(theirs), 'class')}"
            raise ConfigError(f"dataset: the class_names of '{name}' differ between train and {part}: {shown}")
        checked[part] = _with_attributes(data, class_names=names)
    return replace(splits, **checked, notes=[*splits.notes, *_note(given, names)])  # type: ignore[arg-type]


def check_image(image: object, place: str) -> None:
    """Raise ConfigError unless this is a valid return value of a dataset's image()."""
    if isinstance(image, Tensor) and image.dtype == torch.uint8 and image.ndim == 3 and len(image) == 3:
        return
    given = f"{tuple(image.shape)} {image.dtype}" if isinstance(image, Tensor) else type(image).__name__
    raise ConfigError(
        f"dataset: image() must return (3, height, width) torch.uint8, it gives {given} for {_short(place)}"
    )


def _note(given: Sequence[str], names: Sequence[str]) -> list[str]:
    changed = [pair for pair in zip(given, names, strict=True) if pair[0] != pair[1]]
    if not changed:
        return []
    shown = ", ".join(_short(new) for _, new in changed[:4]) + f" and {len(changed) - 4} more" * (len(changed) > 4)
    share = count_noun(len(changed), "class shares", "classes share")
    return [f"{share} a name with another; renamed by their class number: {shown}"]


def _class_names(data: ImageDataset, name: str, part: str) -> tuple[str, ...]:
    names = getattr(data, "class_names", None)
    if isinstance(names, str) or not isinstance(names, Sequence) or not len(names):
        raise ConfigError(f"dataset: class_names of '{name}' ({part}) must be a list of texts, got {_short(names)}")
    for entry in names:
        if not isinstance(entry, str):
            problem = f"class_names of '{name}' ({part}) must be texts, got {_short(entry)} ({type(entry).__name__})"
            raise ConfigError(f"dataset: {problem}")
    return tuple(names)


def _checked(data: ImageDataset, name: str, part: str) -> ImageDataset:
    if not isinstance(data, ImageDataset):
        raise ConfigError(f"dataset: {part} of '{name}' is {type(data).__name__}, not expkit.data.dataset.ImageDataset")
    if data.task not in _TASKS:
        hint = nearest(data.task, _TASKS) if isinstance(data.task, str) else ""
        known = hint or f"; there is {', '.join(_TASKS)}"
        raise ConfigError(f"dataset: task of '{name}' ({part}) is {_short(data.task)}{known}")
    count = len(_class_names(data, name, part))
    try:
        targets = np.asarray(data.targets)
    except Exception as error:  # ragged lists, or a plugin's own array type
        raise ConfigError(f"dataset: targets of '{name}' ({part}) cannot be read: {_short(error)}") from error
    convert = {"multilabel": _multilabel_targets, "regression": _numbers}.get(data.task, _class_indices)
    labels = convert(targets, count, f"targets of '{name}' ({part})", data)
    if len(data) != len(labels):
        raise ConfigError(
            f"dataset: '{name}' ({part}) has {count_noun(len(data), 'image')} and {count_noun(len(labels), 'target')}"
        )
    if not len(labels):
        raise ConfigError(f"dataset: {part} of '{name}' holds no image; return None for a split that is not there")
    _check_sample_name(data, 0, name, part)
    return data if labels is data.targets else _with_attributes(data, targets=labels)


def _check_sample_name(data: ImageDataset, index: int, name: str, part: str) -> None:
    try:
        sample_name = data.sample_name(index)
    except NotImplementedError:
        raise ConfigError(
            f"dataset: '{name}' ({part}) has no sample_name(); it names each image for messages"
        ) from None
    if not isinstance(sample_name, str):
        raise ConfigError(f"dataset: sample_name() of '{name}' ({part}) must return a text, got {_short(sample_name)}")


def _with_attributes(data: ImageDataset, **values: Any) -> ImageDataset:
    """Return the data with these attributes set; a view of it if its class computes them."""
    if all(getattr(data, key) is value for key, value in values.items()):
        return data
    try:
        for key, value in values.items():
            setattr(data, key, value)
    except AttributeError:
        return _View(data, values)
    return data


class _View(Subset):
    """The same images with attributes that cannot be set on their own class."""

    def __init__(self, dataset: ImageDataset, values: Mapping[str, Any]) -> None:
        self.dataset, self.indices = dataset, np.arange(len(dataset))
        self.class_names, self.targets, self.task = dataset.class_names, dataset.targets, dataset.task
        self.in_memory, self.decoder = dataset.in_memory, dataset.decoder
        self.reads_targets, self.other_tasks = dataset.reads_targets, dataset.other_tasks
        for key, value in values.items():
            setattr(self, key, value)


def _class_indices(targets: NDArray[Any], classes: int, what: str, data: ImageDataset) -> NDArray[np.int64]:
    """Return (N,) int64 class indices. Raises ConfigError."""
    if targets.ndim != 1:
        hint = '; for several labels an image, set task = "multilabel"' if targets.ndim == 2 else ""
        raise ConfigError(f"dataset: {what} must be (N,) class indices, got shape {targets.shape}{hint}")
    if targets.dtype.kind not in "iubf":
        raise ConfigError(f"dataset: {what} must be whole numbers, got {targets.dtype} (e.g. {_short(targets[:1])})")
    wrong = ~((targets >= 0) & (targets < classes))  # NaN too
    if targets.dtype.kind == "f":
        wrong |= targets != np.floor(targets)
    if wrong.any():
        expected = f"a class index from 0 to {classes - 1}"
        raise _wrong(what, targets, np.flatnonzero(wrong), expected, data)
    return targets.astype(np.int64, copy=False)


def _multilabel_targets(targets: NDArray[Any], classes: int, what: str, data: ImageDataset) -> NDArray[np.float32]:
    """Return (N, C) float32 of 0 and 1. Raises ConfigError."""
    if classes < 2:
        raise ConfigError(
            'dataset: a single multilabel class cannot be scored; use task = "single_label" with two classes,'
            " present and absent"
        )
    if targets.ndim != 2 or targets.shape[1] != classes:
        raise ConfigError(f"dataset: {what} must be (N, {classes}), one column a class, got shape {targets.shape}")
    if targets.dtype.kind not in "iubf":
        raise ConfigError(f"dataset: {what} must be numbers, got {targets.dtype}")
    wrong = ~((targets == 0) | (targets == 1))
    if wrong.any():
        rows = np.flatnonzero(wrong.any(axis=1))
        raise _wrong(what, targets[wrong], rows, "0 or 1 for each class", data, first=targets[wrong][0])
    if not targets.any():
        raise ConfigError(f"dataset: {what} are all 0: no image has a label")
    return targets.astype(np.float32, copy=False)


def _numbers(targets: NDArray[Any], names: int, what: str, data: ImageDataset) -> NDArray[np.float32]:
    """Return (N, K) float32 numbers. Raises ConfigError."""
    if targets.ndim != 2 or targets.shape[1] != names:
        raise ConfigError(f"dataset: {what} must be (N, {names}), one column a number, got shape {targets.shape}")
    if targets.dtype.kind not in "iubf":
        raise ConfigError(f"dataset: {what} must be numbers, got {targets.dtype}")
    wrong = ~np.isfinite(targets)
    if wrong.any():
        raise _wrong(what, targets[wrong], np.flatnonzero(wrong.any(axis=1)), "finite", data, first=targets[wrong][0])
    return targets.astype(np.float32, copy=False)


def _wrong(
    what: str, targets: NDArray[Any], rows: NDArray[np.int64], expected: str, data: ImageDataset, first: Any = None
) -> ConfigError:
    """Return the error for invalid targets, which names the first invalid sample."""
    value = targets[rows[0]] if first is None else first
    try:
        where = data.sample_name(int(rows[0]))
    except Exception:  # a plugin's own code; the row is enough
        where = f"row {rows[0]}"
    count = f"{len(rows):,} of {len(data):,} images" if len(rows) > 1 else "1 image"
    return ConfigError(f"dataset: {what} must be {expected}; wrong in {count}, e.g. {value} for {_short(where)}")


def _short(value: object) -> str:
    shown = f"'{value}'" if isinstance(value, str) else str(value)
    return shown if len(shown) <= 80 else shown[:77] + "..."
