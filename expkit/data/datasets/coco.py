"""COCO as multi-label classification: which categories are in the image."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from expkit.data.dataset import ImageDataset, Splits
from expkit.data.datasets.files import existing_folder
from expkit.data.decode import read_file
from expkit.registry import ConfigError, datasets
from expkit.user_folders import expanded


@datasets.register("coco")
def coco(root: str, annotations: str, val_root: str | None = None, val_annotations: str | None = None) -> Splits:
    """COCO's images and instances_*.json; an image's labels are the categories of the objects in it.

    val_annotations: the file for the images of val_root.
    """
    if (val_root is None) != (val_annotations is None):
        raise ConfigError("dataset.val_annotations: val_root and val_annotations belong together; give both or neither")
    train = CocoLabels(existing_folder(root, "dataset.root"), _read(annotations, "dataset.annotations"))
    if val_root is None or val_annotations is None:
        return Splits(train)
    place = existing_folder(val_root, "dataset.val_root")
    val = CocoLabels(place, _read(val_annotations, "dataset.val_annotations"))
    if train.class_names != val.class_names:
        raise ConfigError("dataset.val_annotations: the categories differ from those of dataset.annotations")
    return Splits(train, val)


def _read(path: str, option: str) -> dict[str, Any]:
    file = expanded(path)
    try:
        read = json.loads(file.read_text())
    except OSError as error:
        raise ConfigError(f"{option}: cannot read '{path}': {error.strerror}; give an instances_*.json file") from error
    except ValueError as error:
        raise ConfigError(f"{option}: '{path}' is not JSON: {error}") from error
    if not isinstance(read, dict) or not all(read.get(part) for part in ("images", "annotations", "categories")):
        raise ConfigError(f"{option}: '{path}' lacks images, annotations or categories; give an instances_*.json file")
    return read


class CocoLabels(ImageDataset):
    """Images with (N, C) targets: 1 where an object of the category is annotated. The JSON is read directly."""

    task = "multilabel"

    def __init__(self, root: Path, content: dict[str, Any]) -> None:
        categories = sorted(content["categories"], key=lambda category: category["id"])
        images = sorted(content["images"], key=lambda image: image["id"])
        self.root = root
        self.class_names = tuple(category["name"] for category in categories)
        self.files = np.array([image["file_name"] for image in images])
        row = {image["id"]: number for number, image in enumerate(images)}
        column = {category["id"]: number for number, category in enumerate(categories)}
        self.targets = np.zeros((len(images), len(categories)), dtype=np.float32)
        for annotation in content["annotations"]:
            self.targets[row[annotation["image_id"]], column[annotation["category_id"]]] = 1

    def sample_name(self, index: int) -> str:
        return str(self.files[index])

    def location(self, index: int) -> str:
        return str(self.root / self.sample_name(index))

    def encoded(self, index: int) -> bytes:
        return read_file(self.location(index))
