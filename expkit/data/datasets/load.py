"""From the dataset node of a config to its two splits, with what a run wants to know found out."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from expkit.data import region
from expkit.data.bad_files import read_bad_files
from expkit.data.cache import Kind
from expkit.data.dataset import ImageDataset, Splits, Subset
from expkit.data.decode import MAX_PIXELS, Decoder
from expkit.data.loader import StartMethod
from expkit.data.samples import OnBad
from expkit.data.split import hold_out
from expkit.registry import ConfigError, datasets


@datasets.share
@dataclass(frozen=True)
class DataOptions:
    """Options of every dataset.

    val_fraction: share held out for validation where the data has no such split; split_seed: which share.
    drop_last: leave out an epoch's last, smaller batch.
    on_bad: what becomes of a sample that cannot be read: fail, skip (a smaller batch) or replace (another one of its
    class; evaluation skips). max_bad: how many may be so, a count or a share of the split, null for any number.
    exclude: a list of files to leave out, as the doctor and every run write it. max_pixels: larger images are refused.
    decoder: auto, or region: decodes only what RandomResizedCrop keeps of a JPEG, with the same pixels.
    cache: keep decoded images, or final pixels where transforms are not random: none, memory, disk (in cache_dir).
    num_workers: processes that read images, "auto": one per core for files, none for data in memory; prefetch: batches
    that each has ready; start_method: how they start. timeout: seconds after which a worker that gives nothing is an
    error.
    """

    val_fraction: float = 0.2
    split_seed: int = 0
    drop_last: bool = False
    on_bad: OnBad = "fail"
    max_bad: int | float | None = 0.2
    exclude: str | None = None
    max_pixels: int = MAX_PIXELS
    decoder: Literal["auto", "region"] = "auto"
    cache: Kind = "none"
    cache_dir: str = "outputs/cache"
    num_workers: int | Literal["auto"] = "auto"
    prefetch: int = 2
    start_method: StartMethod = "auto"
    timeout: float = 60.0

    def __post_init__(self) -> None:
        if not 0 < self.val_fraction < 1:
            raise ConfigError(f"dataset.val_fraction: takes a number between 0 and 1, got {self.val_fraction}")
        if self.num_workers != "auto" and self.num_workers < 0:
            raise ConfigError(f"dataset.num_workers: takes a whole number from 0 up or auto, got {self.num_workers}")
        if self.timeout <= 0:
            raise ConfigError(f"dataset.timeout: takes seconds above 0, got {self.timeout}")
        if self.prefetch < 1 or self.max_pixels < 1:
            raise ConfigError("dataset.prefetch: takes 1 or more, and max_pixels too")
        if self.max_bad is not None and (self.max_bad < 0 or (isinstance(self.max_bad, float) and self.max_bad > 1)):
            raise ConfigError(f"dataset.max_bad: takes a count, a share from 0.0 to 1.0 or null, got {self.max_bad}")
        if self.decoder == "region":
            region.require()


def load(node: Mapping[str, Any]) -> Splits:
    """Build the dataset of a checked node, and hold out a validation split if it has none. Raises ConfigError."""
    options: DataOptions = datasets.shared(node)
    splits = _without(datasets.build(node), options.exclude)
    for data in (splits.train, splits.val):
        if data is not None:
            data.decode_with(Decoder(options.max_pixels, region=options.decoder == "region"))
    classes = splits.train.class_names
    if len(classes) < 2 and splits.train.task == "single_label":
        raise ConfigError(f"dataset: there is only one class ({', '.join(classes)}); training needs two or more")
    if splits.val is None:
        train, val = hold_out(splits.train, options.val_fraction, options.split_seed)
        if not len(val):
            raise ConfigError("dataset.val_fraction: every class has one image only, so none can be held out")
        note = f"held out {len(val)} of {len(splits.train)} images for validation (stratified, by name)"
        splits = replace(splits, train=train, val=val, notes=[*splits.notes, note], held_out=True)
    if splits.train.task == "single_label" and (absent := _absent(splits)):
        raise ConfigError(f"dataset: no training image of class {', '.join(absent)}; add some or remove the class")
    return splits


def _without(splits: Splits, exclude: str | None) -> Splits:
    """Return the splits without the samples of a list of bad files."""
    if exclude is None:
        return splits
    listed = read_bad_files(exclude)
    train, left_out = _kept(splits, "train", splits.train, listed)
    val, more = _kept(splits, "val", splits.val, listed) if splits.val is not None else (None, 0)
    note = f"left out {left_out + more} samples that '{exclude}' lists ({len(listed)} in all)"
    return replace(splits, train=train, val=val, notes=[*splits.notes, note])


def _kept(splits: Splits, split: str, data: ImageDataset, listed: Mapping[str, str]) -> tuple[ImageDataset, int]:
    own = splits if splits.val is not None else replace(splits, held_out=True)
    keep = [index for index in range(len(data)) if own.listed_name(split, data.sample_name(index)) not in listed]
    if not keep:
        raise ConfigError(f"dataset.exclude: the list leaves no sample of {split}; shorten it, or mend the files")
    return (data if len(keep) == len(data) else Subset(data, np.array(keep))), len(data) - len(keep)


def _absent(splits: Splits) -> list[str]:
    counts = np.bincount(splits.train.targets.astype(np.int64), minlength=len(splits.train.class_names))
    return [name for name, count in zip(splits.train.class_names, counts, strict=True) if not count]
