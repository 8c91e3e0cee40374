"""Labelled image files: where they lie, how they are listed, how one is read."""

import os
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from torchvision.datasets.folder import IMG_EXTENSIONS

from expkit.data.dataset import ImageDataset
from expkit.data.decode import read_file
from expkit.registry import ConfigError
from expkit.user_folders import expanded

EXTENSIONS = tuple(IMG_EXTENSIONS)


class ImageFiles(ImageDataset):
    """Image files below a root, with a class index each.

    The paths are kept as one block of bytes and not as Python strings: forked workers then share them, whereas
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
    """Return the folder that an option names. Raises ConfigError when there is none that can be read."""
    folder = expanded(path)
    if not folder.exists():
        raise ConfigError(f"{option}: there is no folder '{path}' (looked in {Path.cwd()}); give the images' folder")
    if not folder.is_dir():
        raise ConfigError(f"{option}: '{path}' is a file; give the folder that holds the images")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise ConfigError(f"{option}: no permission to read the folder '{path}'")
    return folder


def image_paths(folder: Path, deep: bool = True) -> list[str]:
    """Return the image files of a folder as sorted paths relative to it, with / on every system."""
    found: list[str] = []
    for place, folders, names in os.walk(folder, followlinks=True):
        below = Path(place).relative_to(folder).as_posix()
        prefix = "" if below == "." else below + "/"
        found += [prefix + name for name in names if name.lower().endswith(EXTENSIONS)]
        if not deep:
            folders.clear()
    return sorted(found)


def nothing_found(folder: Path, option: str) -> ConfigError:
    kinds = ", ".join(EXTENSIONS)
    return ConfigError(f"{option}: no image lies in '{folder}' (looked for {kinds}); give the images' folder")
