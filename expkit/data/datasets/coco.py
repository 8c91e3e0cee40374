"""COCO as multi-label classification: which categories are in the image."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from expkit.config.registry import datasets
from expkit.core.errors import ConfigError
from expkit.core.formatting import count_noun
from expkit.core.user_folders import expanded
from expkit.data.class_names import differ
from expkit.data.dataset import ImageDataset, Splits
from expkit.data.datasets.image_files import existing_folder
from expkit.data.decode import read_file

_ID = (int, str)
_MOST_TARGETS = 2**32  # images × categories


@datasets.register("coco")
def coco(root: str, annotations: str, val_root: str | None = None, val_annotations: str | None = None) -> Splits:
    """COCO's images and instances_*.json; an image's labels are the categories of the objects in it.

    val_annotations: the file for the images of val_root.
    """
    if (val_root is None) != (val_annotations is None):
        raise ConfigError("dataset.val_annotations: goes with dataset.val_root; give both or neither")
    train, notes = _labels(root, annotations, "dataset.root", "dataset.annotations")
    if val_root is None or val_annotations is None:
        return Splits(train, notes=notes)
    val, more = _labels(val_root, val_annotations, "dataset.val_root", "dataset.val_annotations")
    if train.class_names != val.class_names:
        difference = differ(train.class_names, annotations, val.class_names, val_annotations)
        raise ConfigError(f"dataset.val_annotations: the categories differ: {difference}")
    shared = np.intersect1d(train.files, val.files) if train.root.resolve() == val.root.resolve() else train.files[:0]
    if len(shared):
        count = "all" if len(shared) == len(val) else f"{len(shared):,}"
        more.append(
            f"warning: {count} of the {len(val):,} validation images are training images too (e.g. {shared[0]})"
        )
    return Splits(train, val, [*notes, *more])


def _labels(root: str, annotations: str, option: str, option_of_file: str) -> tuple["CocoLabels", list[str]]:
    """Return the labelled images of a folder and notes. Raises ConfigError."""
    place, content = existing_folder(root, option), _read(annotations, option_of_file)
    try:
        labels = CocoLabels(place, content)
    except ConfigError as error:
        raise ConfigError(*(f"{option_of_file}: '{annotations}': {fault}" for fault in error.faults)) from error
    count = labels.unlisted
    shown = f"passed over {count_noun(count, 'annotation')} of images that '{annotations}' does not list"
    return labels, [shown] if count else []


def _read(path: str, option: str) -> dict[str, Any]:
    file = expanded(path)
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{option}: cannot read '{path}': {error.strerror}; give an instances_*.json file") from error
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else error
        raise ConfigError(f"{option}: '{path}' is not JSON: {reason}") from error
    parts = ("images", "annotations", "categories")
    if not isinstance(read, dict) or not all(isinstance(read.get(part), list) and read[part] for part in parts):
        raise ConfigError(f"{option}: '{path}' lacks images, annotations or categories; give an instances_*.json file")
    return read


def _field(entry: Any, part: str, number: int, key: str, kinds: type | tuple[type, ...]) -> Any:
    """Return a field of an entry of the file. Raises ConfigError."""
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, kinds) or isinstance(value, bool) or value == "":
        raise ConfigError(
            f"{part}[{number}]: has no `{key}` as instances_*.json files have it, got {str(value)[:80]!r}"
        )
    return value


class CocoLabels(ImageDataset):
    """Images with (N, C) targets: 1 where an object of the category is annotated. The JSON is read directly.

    unlisted: annotations of images that are not in the list, which are passed over.
    """

    task = "multilabel"

    def __init__(self, root: Path, content: dict[str, Any]) -> None:
        """Raises ConfigError for an entry that is not in COCO's format."""
        images, categories = (_by_id(content[part], part) for part in ("images", "categories"))
        if len(images) * len(categories) > _MOST_TARGETS:
            raise ConfigError(f"lists {len(images):,} images × {len(categories):,} categories, too many to keep")
        self.root = root
        self.class_names = tuple(_field(entry, "categories", at, "name", str) for at, entry in categories.values())
        self.files = np.array([_field(entry, "images", at, "file_name", str) for at, entry in images.values()])
        row = {key: number for number, key in enumerate(images)}
        column = {key: number for number, key in enumerate(categories)}
        self.targets = np.zeros((len(images), len(categories)), dtype=np.float32)
        self.unlisted = 0
        for number, one in enumerate(content["annotations"]):
            image = _field(one, "annotations", number, "image_id", _ID)
            category = _field(one, "annotations", number, "category_id", _ID)
            if category not in column:
                raise ConfigError(f"annotations[{number}]: its category_id {str(category)[:80]} is not listed")
            if image not in row:
                self.unlisted += 1
            else:
                self.targets[row[image], column[category]] = 1

    def sample_name(self, index: int) -> str:
        return str(self.files[index])

    def location(self, index: int) -> str:
        return str(self.root / self.sample_name(index))

    def encoded(self, index: int) -> bytes:
        return read_file(self.location(index))


def _by_id(entries: list[Any], part: str) -> dict[Any, tuple[int, Any]]:
    """Return {id: (index in the file, entry)}, sorted by id. Raises ConfigError."""
    numbered: dict[Any, tuple[int, Any]] = {}
    for number, entry in enumerate(entries):
        key = _field(entry, part, number, "id", _ID)
        if key in numbered:
            raise ConfigError(
                f"{part}[{number}]: has the id {str(key)[:80]} of {part}[{numbered[key][0]}]; ids are unique"
            )
        numbered[key] = number, entry
    return dict(sorted(numbered.items(), key=lambda item: (isinstance(item[0], str), item[0])))
