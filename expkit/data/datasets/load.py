"""From the dataset node of a config to its two splits, with what a run wants to know found out."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from expkit.data.dataset import Splits
from expkit.data.split import hold_out
from expkit.registry import ConfigError, datasets


@datasets.share
@dataclass(frozen=True)
class DataOptions:
    """Options of every dataset.

    val_fraction: share held out for validation where the data has no such split; split_seed: which share.
    num_workers: processes that read images, "auto": one per core for files, none for data in memory. drop_last: leave
    out an epoch's last, smaller batch. timeout: seconds after which a worker that gives nothing is an error.
    """

    val_fraction: float = 0.2
    split_seed: int = 0
    num_workers: int | Literal["auto"] = "auto"
    drop_last: bool = False
    timeout: float = 60.0

    def __post_init__(self) -> None:
        if not 0 < self.val_fraction < 1:
            raise ConfigError(f"dataset.val_fraction: takes a number between 0 and 1, got {self.val_fraction}")
        if self.num_workers != "auto" and self.num_workers < 0:
            raise ConfigError(f"dataset.num_workers: takes a whole number from 0 up or auto, got {self.num_workers}")
        if self.timeout <= 0:
            raise ConfigError(f"dataset.timeout: takes seconds above 0, got {self.timeout}")


def load(node: Mapping[str, Any]) -> Splits:
    """Build the dataset of a checked node, and hold out a validation split if it has none. Raises ConfigError."""
    options: DataOptions = datasets.shared(node)
    splits: Splits = datasets.build(node)
    classes = splits.train.class_names
    if len(classes) < 2 and splits.train.task == "single_label":
        raise ConfigError(f"dataset: there is only one class ({', '.join(classes)}); training needs two or more")
    if splits.val is None:
        train, val = hold_out(splits.train, options.val_fraction, options.split_seed)
        if not len(val):
            raise ConfigError("dataset.val_fraction: every class has one image only, so none can be held out")
        note = f"held out {len(val)} of {len(splits.train)} images for validation (stratified, by name)"
        splits = replace(splits, train=train, val=val, notes=[*splits.notes, note])
    if splits.train.task == "single_label" and (absent := _absent(splits)):
        raise ConfigError(f"dataset: no training image of class {', '.join(absent)}; add some or remove the class")
    return splits


def _absent(splits: Splits) -> list[str]:
    counts = np.bincount(splits.train.targets.astype(np.int64), minlength=len(splits.train.class_names))
    return [name for name, count in zip(splits.train.class_names, counts, strict=True) if not count]
