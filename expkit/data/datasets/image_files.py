"""Labelled image files: how they are listed and read."""

import os
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from torchvision.datasets.folder import IMG_EXTENSIONS

from expkit.core.errors import ConfigError
from expkit.core.user_folders import expanded
from expkit.data.dataset import ImageDataset
from expkit.data.datasets.file_tree import FileTree, leads_to_folder
from expkit.data.datasets.leftovers import PassedOver, is_leftover
from expkit.data.decode import read_file

EXTENSIONS = (*IMG_EXTENSIONS, ".jfif", ".jpe", ".avif", ".gif")


class ImageFiles(ImageDataset):
    """Image files below a root, with a class index each.

    The paths are kept as one block of bytes, not as Python strings: forked workers then share them, whereas
    reference counts would copy every page that a string lies on.
    """

    def __init__(self, root: Path, paths: Iterable[str], targets: Iterable[int], class_names: Sequence[str]) -> None:
        self.root, self.class_names = root, tuple(class_names)
        self.targets = np.fromiter(targets, np.int64)
        block, ends = bytearray(), array("q")
        for path in paths:
            block += os.fsencode(path)
            ends.append(len(block))
        self._ends = np.array(ends, dtype=np.int64)
        self._bytes = np.array(block, dtype=np.uint8)

    def sample_name(self, index: int) -> str:
        start = self._ends[index - 1] if index else 0
        return os.fsdecode(self._bytes[start : self._ends[index]].tobytes())

    def location(self, index: int) -> str:
        return str(self.root / self.sample_name(index))

    def encoded(self, index: int) -> bytes:
        return read_file(self.location(index))


def existing_folder(path: str, option: str) -> Path:
    """Return the folder that an option names. Raises ConfigError if it is missing or not readable."""
    folder = expanded(path)
    if not folder.exists():
        where = f"at {folder}" if folder.is_absolute() else f"in {Path.cwd()}"
        looked = "" if Path(path).is_absolute() else f" (looked {where})"
        raise ConfigError(f"{option}: there is no folder '{path}'{looked}; give the images' folder")
    if not folder.is_dir():
        raise ConfigError(f"{option}: '{path}' is a file; give the folder that holds the images")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise ConfigError(f"{option}: no permission to read the folder '{path}'")
    return folder


def is_image(name: str) -> bool:
    """Return True if a file has an image extension."""
    return name.lower().endswith(EXTENSIONS)


def image_tree(folder: Path, tops: Iterable[str] = ("",)) -> FileTree:
    """Return the tree of image files below a folder, or below some of its subfolders; each real file once."""
    return FileTree(folder, is_image, tops)


def image_paths(folder: Path) -> list[str]:
    """Return the image files of a folder as sorted paths relative to it, with / on every system."""
    return sorted(image_tree(folder).paths)


def visible_folders(folder: Path) -> list[str]:
    """Return the sorted names of subfolders, without hidden ones and leftovers of other programs."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not is_leftover(entry.name) and leads_to_folder(entry))


def has_images(folder: Path) -> bool:
    """Return True if the folder directly contains image files."""
    names = (place.name for place in folder.iterdir() if not place.is_dir())
    return any(is_image(name) and not is_leftover(name) for name in names)


def overlap_warning(tree: FileTree, train: FileTree, purpose: str) -> list[str]:
    """Return a warning if validation or test images are also training images."""
    shared = list(tree.shared_with(train))
    if not shared:
        return []
    count = "all" if len(shared) == len(tree.paths) else f"{len(shared):,}"
    return [
        f"warning: {count} of the {len(tree.paths):,} {purpose} images are training images too, by path or link"
        f" (e.g. {shared[0]}): their scores say nothing about new images"
    ]


def nothing_found(folder: Path, option: str, passed: PassedOver | None = None) -> ConfigError:
    """Return the error for a folder without images. passed: the files found instead."""
    looked = f"looked for {', '.join(EXTENSIONS)}" + (f"; there are {passed}" if passed and str(passed) else "")
    return ConfigError(f"{option}: no image lies in '{folder}' ({looked}); give the images' folder")
