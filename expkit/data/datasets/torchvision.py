"""torchvision's own classification data sets by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
from torchvision import datasets as tv

from expkit.config.registry import datasets
from expkit.core.errors import ConfigError
from expkit.core.escaping import shortened
from expkit.core.formatting import count_noun
from expkit.core.user_folders import expanded
from expkit.data.dataset import ImageDataset, Splits
from expkit.data.datasets.image_files import ImageFiles, image_tree, visible_folders
from expkit.data.datasets.in_memory import ImageArrays, ReadByLibrary
from expkit.data.datasets.leftovers import PassedOver

# name: (torchvision's class, its training split, its validation split)
_BY_TRAIN_FLAG = {
    "cifar10": "CIFAR10", "cifar100": "CIFAR100", "mnist": "MNIST", "fashion_mnist": "FashionMNIST",
    "kmnist": "KMNIST", "qmnist": "QMNIST", "usps": "USPS",
}  # fmt: skip
_BY_SPLIT = {
    "svhn": ("SVHN", "train", "test"), "stl10": ("STL10", "train", "test"), "gtsrb": ("GTSRB", "train", "test"),
    "flowers102": ("Flowers102", "train", "val"), "food101": ("Food101", "train", "test"),
    "oxford_pets": ("OxfordIIITPet", "trainval", "test"), "dtd": ("DTD", "train", "val"),
    "fgvc_aircraft": ("FGVCAircraft", "train", "val"), "country211": ("Country211", "train", "valid"),
}  # fmt: skip


def open_dataset(name: str, dataset_class: Callable[..., Any], root: str, **options: Any) -> Any:
    """Open a data set. Raises ConfigError with the folder where the files belong."""
    try:
        return dataset_class(root, **options)
    except ConfigError:
        raise
    except (URLError, ConnectionError, TimeoutError) as error:
        raise ConfigError(f"dataset: {name} could not be downloaded ({error}); put its files into '{root}'") from error
    except (RuntimeError, OSError) as error:
        remedy = "put its files there" + (", or set dataset.download=true" if "download" in options else "")
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ConfigError(f"dataset.root: {name} is not in '{root}' ({reason}); {remedy}") from error
    except Exception as error:  # torchvision's readers raise many types
        raise _damaged(name, root, error) from error


def _damaged(name: str, root: str, error: Exception) -> ConfigError:
    reason = shortened(f"{type(error).__name__}: {error}")
    return ConfigError(f"dataset.root: the files of {name} in '{root}' are damaged ({reason}); put whole ones there")


def _register(name: str, class_name: str, train: dict[str, Any], val: dict[str, Any]) -> None:
    dataset_class = getattr(tv, class_name)

    @datasets.register(name)
    def build(root: str, download: bool = False) -> Splits:
        folder = str(expanded(root))
        sets = [open_dataset(name, dataset_class, folder, download=download, **split) for split in (train, val)]
        try:
            names = _class_names(sets[0])
            return Splits(_wrap(sets[0], names, "train"), _wrap(sets[1], names, "val"))
        except Exception as error:  # the files contain no list of labels, or no array of images
            raise _damaged(name, folder, error) from error

    build.__doc__ = f"torchvision's {class_name}."


def _class_names(data: Any) -> list[str]:
    if names := getattr(data, "classes", None):
        return [name if isinstance(name, str) else name[0] for name in names]
    return [str(number) for number in range(int(np.max(_targets(data))) + 1)]


def _targets(data: Any) -> Any:
    """Return the labels, which all these classes know without opening an image."""
    for attribute in ("targets", "labels", "_labels"):
        if (labels := getattr(data, attribute, None)) is not None:
            return np.asarray(labels)
    return np.array([label for _, label in data._samples])  # GTSRB


def _wrap(data: Any, names: list[str], split: str) -> ImageDataset:
    pixels = getattr(data, "data", None)
    if pixels is None:
        return ReadByLibrary(data, _targets(data), names, split)
    pixels = np.asarray(pixels)
    if pixels.ndim == 4 and pixels.shape[1] == 3:  # SVHN and STL10 keep their channels first
        pixels = pixels.transpose(0, 2, 3, 1)
    targets = _targets(data)
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or len(pixels) != len(targets):
        raise ValueError(
            f"{split}: an array of {pixels.dtype}, {pixels.shape}, for {count_noun(len(targets), 'label')}"
        )
    return ImageArrays(pixels, targets, names, split)


for _word, _class in _BY_TRAIN_FLAG.items():
    _register(_word, _class, {"train": True}, {"train": False})
for _word, (_class, _train, _val) in _BY_SPLIT.items():
    _register(_word, _class, {"split": _train}, {"split": _val})


class _ImageNet(tv.ImageNet):  # type: ignore[misc]  # torchvision has no types
    """torchvision's ImageNet, ignoring leftovers of other programs among its folders and images."""

    def __init__(self, root: str, **options: Any) -> None:
        try:
            super().__init__(root, **options)
        except KeyError as error:
            problem = f"'{root}' holds the folder {error}, which is no class of ImageNet's meta.bin"
            raise ConfigError(f"dataset.root: {problem}; move it elsewhere") from error

    def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
        names = visible_folders(Path(directory))
        return names, {name: number for number, name in enumerate(names)}

    def make_dataset(  # static there, and called by the object
        self, directory: str, class_to_idx: dict[str, int], *given: object, **named: object
    ) -> list[tuple[str, int]]:
        tree = image_tree(Path(directory), class_to_idx)
        self.passed = tree.passed
        return [(path, class_to_idx[path.split("/")[0]]) for path in sorted(tree.paths)]


@datasets.register("imagenet")
def imagenet(root: str) -> Splits:
    """ImageNet (ILSVRC2012): its archives must be fetched by hand into the root."""
    sets = [open_dataset("imagenet", _ImageNet, root, split=split) for split in ("train", "val")]
    names = [name[0] for name in sets[0].classes]
    passed = PassedOver()
    for one in sets:
        passed.add(one.passed)
    return Splits(_files(sets[0], names), _files(sets[1], names), passed.notes())


def _files(data: Any, names: list[str]) -> ImageFiles:
    paths, targets = zip(*data.samples, strict=True) if data.samples else ((), ())
    folder = f"{data.split}/"
    return ImageFiles(Path(data.root), [folder + path for path in paths], targets, names)


@datasets.register("fake")
def fake(images: int = 200, image_size: int = 32, num_classes: int = 10, draw_seed: int = 0) -> Splits:
    """Noise with random labels (torchvision's FakeData): for trying a configuration, there is nothing to learn.

    images: for training, a fifth more for validation; image_size: side in pixels; num_classes: how many; draw_seed:
    another one draws other images.
    """
    if images < 2 or image_size < 1 or num_classes < 2:
        raise ConfigError("dataset.images: takes 2 or more, with image_size from 1 and num_classes from 2 up")
    if images > 10_000_000 or image_size > 9_000 or num_classes > 1_000_000:
        raise ConfigError("dataset.images: takes 10 million at most, image_size 9,000 and num_classes a million")
    names = [str(number) for number in range(num_classes)]

    def draw(count: int, seed: int, split: str) -> ReadByLibrary:
        drawn = tv.FakeData(count, (3, image_size, image_size), num_classes, random_offset=seed)
        # FakeData draws a label after its image, so the labels cost a reading of each, once.
        return ReadByLibrary(drawn, [int(drawn[i][1]) for i in range(count)], names, split)

    return Splits(draw(images, draw_seed, "train"), draw(max(images // 5, 1), draw_seed + images, "val"))
