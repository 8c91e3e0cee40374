"""Datasets by name; `load` gives a training and a validation split whatever the data brings."""

from expkit.data.datasets import coco, dogcat, huggingface, image_folder, lsun, masks, shapes, torchvision, webdataset
from expkit.data.datasets.load import DataOptions, load

__all__ = [
    "DataOptions",
    "coco",
    "dogcat",
    "huggingface",
    "image_folder",
    "load",
    "lsun",
    "masks",
    "shapes",
    "torchvision",
    "webdataset",
]
