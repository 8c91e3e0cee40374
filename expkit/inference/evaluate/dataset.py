"""The data of an evaluation: the run's own, or other data whose classes the model knows."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from expkit.config.compose import compose_one, plain
from expkit.config.confined import confined
from expkit.config.redaction.redactor import ELSEWHERE
from expkit.config.registry import datasets
from expkit.config.yaml_safety import parse_value
from expkit.core.errors import ConfigError
from expkit.data.class_names import by_known
from expkit.data.dataset import ImageDataset, Splits, Subset
from expkit.data.datasets import load
from expkit.data.targets import WithNumbers
from expkit.inference import Trained

Split = Literal["val", "train", "test"]


def dataset_node(own: Mapping[str, Any] | None, overrides: Sequence[str]) -> dict[str, Any]:
    """Return the checked dataset node: the run's with overrides, or another choice. Raises ConfigError.

    `dataset=CHOICE` composes conf/dataset/CHOICE.yaml; without it `dataset.KEY=VALUE` changes the run's node.
    """
    if wrong := [one for one in overrides if not one.lstrip("+").startswith(("dataset=", "dataset."))]:
        raise ConfigError(f"{wrong[0]}: only the data can be changed: dataset=CHOICE, dataset.KEY=VALUE")
    if any(one.startswith("dataset=") for one in overrides):
        node: Any = {"deep_range": (own or {}).get("deep_range")} | plain(compose_one([*overrides]))["dataset"]
    else:
        pairs = (one.lstrip("+").removeprefix("dataset.").partition("=") for one in overrides)
        given = {key: parse_value(text, f"dataset.{key}") for key, _, text in pairs}
        # The checkpoint may be untrusted: what it draws or downloads goes below the output folder.
        node = confined(own or {}, given)[0] | given
        if str(node.get("root")).startswith(ELSEWHERE):
            raise ConfigError("dataset.root: the run's data were outside its working folder; give dataset.root=PATH")
    if faults := datasets.faults(node):
        raise ConfigError(*faults)
    return dict(node)


def split_of(node: Mapping[str, Any], split: Split, notes: list[str] | None = None) -> ImageDataset:
    """Build a checked dataset node and return one split; extend notes by the data's. Raises ConfigError."""
    splits: Splits = load(node)
    if notes is not None:
        notes += splits.notes
    chosen: ImageDataset | None = getattr(splits, split)
    if not chosen:
        raise ConfigError(f"--split: this data has no {split} images of its own; {_other_way(node, splits)}")
    return chosen


def _other_way(node: Mapping[str, Any], splits: Splits) -> str:
    """Return the override that names other images, as validation images; without one, the splits that exist."""
    options = datasets.options(node["name"])
    if "val_root" in options:
        more = " (and dataset.val_annotations)" if "val_annotations" in options else ""
        return f"set dataset.val_root to their folder{more} and use --split val"
    if option := next((one for one in ("val_split", "val_shards") if one in options), None):
        return f"set dataset.{option} to theirs and use --split val"
    return f"use --split {' or '.join(part for part in ('val', 'train') if getattr(splits, part))}"


def for_model(data: ImageDataset, trained: Trained) -> ImageDataset:
    """Return the data with the model's class numbers. Raises ConfigError for classes that the model does not have.

    The data may lack classes and have them in another order; numbers may be more than the model's, masks and channels
    must be the same.
    """
    kind = trained.task.kind
    if data.task != kind and trained.task.form == "classes":
        raise ConfigError(f"dataset: is {data.task}, and {trained.path} was trained on {kind} data")
    if trained.task.form != "classes":
        return _for_task(data, trained)
    if data.class_names == trained.classes:
        return data
    place = {name: number for number, name in enumerate(trained.classes)}
    known = by_known(data.class_names, trained.classes)
    if unknown := [name for name in data.class_names if known[name] not in place]:
        shown = f"{', '.join(unknown[:5])}; it knows {', '.join(trained.classes[:8])}"
        raise ConfigError(f"dataset: the model {trained.path} does not know {shown}")
    return _Relabelled(data, trained.classes, np.array([place[known[name]] for name in data.class_names]))


def _for_task(data: ImageDataset, trained: Trained) -> ImageDataset:
    """Return the data with targets for the model's task. Raises ConfigError where they are of something else."""
    kind = trained.task.kind
    try:
        data = data.for_task(kind)
    except ConfigError as error:
        fault = error.faults[0].partition(": ")[2]
        raise ConfigError(f"dataset: {fault}, and {trained.path} was trained for {kind}; give other data") from error
    if data.class_names == trained.classes:
        return data
    missing = [name for name in trained.classes if name not in data.class_names]
    if trained.task.form == "numbers" and not missing and data.targets.ndim == 2:
        places = [data.class_names.index(name) for name in trained.classes]
        return WithNumbers(data, trained.classes, data.targets[:, places].astype(np.float32))
    ours, theirs = ", ".join(data.class_names[:8]), ", ".join(trained.classes[:8])
    raise ConfigError(f"dataset: its targets are {ours}, and those of {trained.path} are {theirs}; give other data")


class _Relabelled(Subset):
    """The same images with other class numbers. places: (C,) the new number of each class."""

    def __init__(self, data: ImageDataset, class_names: tuple[str, ...], places: Any) -> None:
        super().__init__(data, np.arange(len(data)))
        self.class_names = class_names
        if data.targets.ndim == 1:
            self.targets = places[data.targets.astype(np.int64)]
        else:
            wide = np.zeros((len(data), len(class_names)), dtype=np.float32)
            wide[:, places] = data.targets
            self.targets = wide
