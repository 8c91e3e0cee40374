"""dataset=masks: images and masks of the same names, and what is wrong with some."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from expkit.config.registry import datasets
from expkit.core.errors import ConfigError
from expkit.data.dataset import Splits
from expkit.data.decode import BadImage
from expkit.data.targets import UNKNOWN

ImageFiles = Callable[..., Path]


def write_mask(path: Path, values: np.ndarray, mode: str = "L") -> None:  # type: ignore[type-arg]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).convert(mode).save(path)


def read(root: Path, **options: object) -> Splits:
    node = {"name": "masks", "root": str(root), "classes": ["road", "car"], **options}
    splits: Splits = datasets.build(datasets.check(node))
    return splits


def test_each_image_has_the_mask_of_its_name(image_files: ImageFiles) -> None:
    root = image_files("city", "images/b.jpg", "images/deep/a.jpg")
    first, second = (np.full((36, 40), value) for value in (0, 1))
    second[:3] = UNKNOWN
    write_mask(root / "masks" / "b.png", first)
    write_mask(root / "masks" / "deep" / "a.png", second, "P")
    data = read(root).train
    assert (data.task, data.class_names, len(data), data.reads_targets) == ("segmentation", ("road", "car"), 2, True)
    assert [data.sample_name(index) for index in range(2)] == ["images/b.jpg", "images/deep/a.jpg"]
    assert [data.target(index).unique().tolist() for index in range(2)] == [[0], [1, UNKNOWN]]


def test_what_is_wrong_is_named(image_files: ImageFiles) -> None:
    root = image_files("city", "images/a.jpg", "images/b.jpg")
    with pytest.raises(ConfigError, match=r"has no folder 'masks' of masks; name one of its folders by dataset.masks"):
        read(root)
    write_mask(root / "masks" / "a.png", np.zeros((36, 40)))
    with pytest.raises(ConfigError, match=r"1 image without a mask, e.g. 'images/b.jpg'"):
        read(root)
    write_mask(root / "masks" / "b.png", np.zeros((36, 40)), "RGB")
    with pytest.raises(BadImage, match="a mask has one channel, this one is RGB"):
        read(root).train.target(1)
    (root / "masks" / "b.png").write_bytes(b"no image")
    with pytest.raises(BadImage, match="the mask cannot be read"):
        read(root).train.target(1)
    with pytest.raises(ConfigError, match=r"dataset.classes: takes 2 to 255 names, got 1"):
        read(root, classes=["road"])
