"""Build the splits from the dataset node of a config: decoding, folds, label noise, bad files."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np

from expkit.config.registry import datasets
from expkit.config.signature import FROM_NOW_ON, OUTPUT, SPEED, Affects
from expkit.core.errors import ConfigError
from expkit.core.formatting import count_noun
from expkit.data import deep, region_decode
from expkit.data.bad_files import read_bad_files
from expkit.data.batches import OnBad
from expkit.data.cache import Kind
from expkit.data.class_names import composed
from expkit.data.dataset import ImageDataset, Splits, Subset
from expkit.data.datasets.split_names import role_of
from expkit.data.decode import MAX_PIXELS, Decoder
from expkit.data.labels import check_labels
from expkit.data.loader import StartMethod
from expkit.data.splits import hold_out, no_images, take_fold, with_label_noise


@datasets.share
@dataclass(frozen=True)
class DataOptions:
    """Options of every dataset.

    val_fraction: fraction held out for validation if the data has no validation split; 0: nothing is evaluated, and the
    last checkpoint is kept; split_seed: seed of that split.
    fold, folds: hold out this fold (from 0) of so many, for k-fold cross-validation, and ignore the data's own
    validation split; null: no fold. label_noise: fraction of training labels that become another class, by key;
    label_noise_seed: seed of the noise. drop_last: drop the last, smaller batch of an epoch.
    on_bad: what to do with an unreadable sample: fail, skip (the batch is smaller) or replace (by another sample of its
    class; evaluation skips). max_bad: unreadable samples that are allowed, a count or a fraction of the split, null for
    any number. exclude: a list of files to leave out, as the doctor and every run write it. max_pixels: larger images
    are refused. deep_range: the values [LOWEST, HIGHEST] of images with more than 8 bits per value that become 0 and
    255; auto: by the data's largest value, null: 0 to 65535.
    decoder: auto, or region: decode only the region of a JPEG that RandomResizedCrop keeps, with the same pixels.
    cache: keep decoded images, or final pixels if transforms are not random: none, memory, disk (in cache_dir).
    num_workers: processes that read images, "auto": one per core for files, none for data in memory; prefetch: batches
    that each prepares in advance; start_method: how they start. timeout: seconds to wait for a worker.
    """

    val_fraction: float = 0.2
    split_seed: int = 0
    fold: int | None = None
    folds: int = 5
    label_noise: float = 0.0
    label_noise_seed: int = 0
    drop_last: Annotated[bool, Affects("result", "epoch_end")] = False
    on_bad: OnBad = "fail"
    max_bad: Annotated[int | float | None, OUTPUT] = 0.2
    exclude: str | None = None
    max_pixels: int = MAX_PIXELS
    deep_range: Annotated[Literal["auto"] | list[float] | None, FROM_NOW_ON] = "auto"
    decoder: Annotated[Literal["auto", "region"], SPEED] = "auto"
    cache: Annotated[Kind, SPEED] = "none"
    cache_dir: Annotated[str, SPEED] = "outputs/cache"
    num_workers: Annotated[int | Literal["auto"], SPEED] = "auto"
    prefetch: Annotated[int, SPEED] = 2
    start_method: Annotated[StartMethod, SPEED] = "auto"
    timeout: Annotated[float, SPEED] = 60.0

    def __post_init__(self) -> None:
        workers, bad = self.num_workers, self.max_bad
        wanted = {
            "val_fraction": (0 <= self.val_fraction < 1, "a number from 0 up to, not including, 1"),
            "folds": (self.folds >= 2, "an integer from 2 up"),
            "fold": (
                self.fold is None or 0 <= self.fold < self.folds,
                f"an integer from 0 up to dataset.folds - 1, {self.folds - 1}, or null",
            ),
            "label_noise": (0 <= self.label_noise < 1, "a share from 0 up to, not including, 1"),
            "num_workers": (workers == "auto" or 0 <= workers <= 1024, "an integer from 0 to 1,024 or auto"),
            "timeout": (0 < self.timeout <= 1e7, "seconds above 0, up to 10 million"),
            "prefetch": (1 <= self.prefetch <= 1024, "an integer from 1 to 1,024"),
            "max_pixels": (self.max_pixels >= 1, "an integer from 1 up"),
            "max_bad": (
                bad is None or (bad >= 0 and not (isinstance(bad, float) and bad > 1)),
                "a count, a share from 0.0 to 1.0 or null",
            ),
        }
        faults = [
            f"dataset.{name}: expected {words}, got {getattr(self, name)}"
            for name, (is_right, words) in wanted.items()
            if not is_right
        ]
        if self.deep_range != "auto":
            try:
                deep.checked_range(self.deep_range)
            except ValueError as error:
                faults.append(f"dataset.deep_range: {error}, auto or null, got {self.deep_range}")
        if faults:
            raise ConfigError(*faults)
        if self.decoder == "region":
            region_decode.require()


def load(node: Mapping[str, Any]) -> Splits:
    """Build the dataset of a checked node; hold out a validation split if it has none. Raises ConfigError."""
    options: DataOptions = datasets.shared(node)
    splits = _decoded(_without(check_labels(datasets.build(node), node["name"]), options.exclude), options)
    classes = splits.train.class_names
    if len({role_of(name) for name in classes} - {None}) > 1 and all(map(role_of, classes)):
        raise ConfigError(
            f"dataset: its classes are called {', '.join(classes)}, which are names of splits; set dataset.root to"
            " the folder of the training images alone, or rename the classes"
        )
    if len(classes) < 2 and splits.train.task == "single_label":
        raise ConfigError(f"dataset: there is only one class ({', '.join(classes)}); training needs two or more")
    if options.fold is not None:
        splits = _folded(splits, options.fold, options)
    elif splits.val is None:
        splits = _held_out(splits, options)
    absent = _absent(splits.train)
    if absent and splits.train.task == "single_label":
        raise ConfigError(f"dataset: no training image of class {', '.join(absent)}; add some or remove the class")
    splits = _with_note_on_absent(splits)
    return _noisy(splits, options) if options.label_noise else splits


def _decoded(splits: Splits, options: DataOptions) -> Splits:
    """Set the decoder of all splits; the range of deep images is taken from the training images."""
    notes: list[str] = []
    if options.deep_range == "auto":
        found = deep.find_range(splits.train)
        span = found[0] if found else None
        if found and span != deep.SIXTEEN_BITS:
            shown = f"{found[0][0]:g} to {found[0][1]:g} become 0 to 255"
            notes = [f"images of more than 8 bits: the values {shown} (dataset.deep_range=auto, by {found[1]} of them)"]
    else:
        span = deep.checked_range(options.deep_range)
    for data in (splits.train, splits.val, splits.test):
        if data is not None:
            data.decode_with(Decoder(options.max_pixels, options.decoder == "region", span))
    return replace(splits, notes=[*splits.notes, *notes])


def _held_out(splits: Splits, options: DataOptions) -> Splits:
    if not options.val_fraction:
        note = (
            "warning: no validation images (dataset.val_fraction=0): nothing is evaluated, the last checkpoint is kept,"
            " and early stopping and schedules go by the training scores"
        )
        return replace(splits, val=no_images(splits.train), notes=[*splits.notes, note], held_out=True)
    train, val = hold_out(splits.train, options.val_fraction, options.split_seed)
    if not len(val):
        raise ConfigError(
            "dataset.val_fraction: every class has one image only, so none can be held out; dataset.val_fraction=0"
            " trains without validation"
        )
    note = f"held out {len(val):,} of {count_noun(len(splits.train), 'image')} for validation (stratified, by name)"
    return replace(splits, train=train, val=val, notes=[*splits.notes, note], held_out=True)


def _folded(splits: Splits, fold: int, options: DataOptions) -> Splits:
    if options.folds > len(splits.train):
        raise ConfigError(
            f"dataset.folds: {count_noun(len(splits.train), 'image')} cannot fill {options.folds} folds; take fewer"
        )
    train, val = take_fold(splits.train, fold, options.folds, options.split_seed)
    held_out = f"{len(val):,} of {count_noun(len(splits.train), 'image')}"
    note = f"held out fold {fold} of {options.folds}, {held_out} (stratified, by name)"
    aside = (
        f"; the data's own validation split ({count_noun(len(splits.val), 'image')}) is left aside"
        if splits.val is not None
        else ""
    )
    return replace(splits, train=train, val=val, notes=[*splits.notes, note + aside], held_out=True)


def _noisy(splits: Splits, options: DataOptions) -> Splits:
    """Return the splits with noise in the training labels; validation labels stay unchanged."""
    if splits.train.task != "single_label":
        raise ConfigError("dataset.label_noise: needs one class per image, this data has several; set it to 0")
    train = with_label_noise(splits.train, options.label_noise, options.label_noise_seed)
    changed = int((train.targets != splits.train.targets).sum())
    note = f"gave {changed} of {len(train)} training images another class (dataset.label_noise={options.label_noise})"
    return replace(splits, train=train, notes=[*splits.notes, note])


def _without(splits: Splits, exclude: str | None) -> Splits:
    """Return the splits without the samples of a list of bad files."""
    if exclude is None:
        return splits
    listed = read_bad_files(exclude)
    own = splits if splits.val is not None else replace(splits, held_out=True)
    parts = {"train": splits.train} | ({"val": splits.val} if splits.val is not None else {})
    named = {
        part: [own.listed_name(part, data.sample_name(i)) for i in range(len(data))] for part, data in parts.items()
    }
    # The list may have been written on a file system with another Unicode normal form.
    absent = set(listed).difference(*named.values())
    respelled = {composed(name) for name in absent}
    left: dict[str, ImageDataset] = {}
    for part, data in parts.items():
        keep = [i for i, name in enumerate(named[part]) if name not in listed and composed(name) not in respelled]
        if not keep:
            raise ConfigError(f"dataset.exclude: the list leaves no sample of {part}; shorten it, or repair the files")
        left[part] = data if len(keep) == len(data) else Subset(data, np.array(keep))
    count = sum(len(data) - len(left[part]) for part, data in parts.items())
    note = f"left out {count_noun(count, 'sample')} that '{exclude}' lists ({len(listed)} in all)"
    return replace(splits, train=left["train"], val=left.get("val"), notes=[*splits.notes, note])


def _absent(data: ImageDataset) -> list[str]:
    if data.targets.ndim == 2:
        counts = np.count_nonzero(data.targets, axis=0)
    else:
        counts = np.bincount(data.targets.astype(np.int64), minlength=len(data.class_names))
    return [name for name, count in zip(data.class_names, counts.tolist(), strict=True) if not count]


def _with_note_on_absent(splits: Splits) -> Splits:
    """Return the splits with a note on classes that have no validation image."""
    if splits.train.task not in ("single_label", "multilabel"):
        return splits
    absent = _absent(splits.val) if splits.val is not None and len(splits.val) else []
    if not absent:
        return splits
    if len(absent) == len(splits.train.class_names):
        raise ConfigError(
            "dataset: no validation image has a label, so nothing can be scored; raise dataset.val_fraction, or set"
            " another dataset.split_seed (dataset.val_fraction=0 trains without validation)"
        )
    shown = ", ".join(absent[:5]) + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
    return replace(splits, notes=[*splits.notes, f"no validation image of class {shown}: no score tells of it"])
