"""LSUN as scene classification: one lmdb of encoded images per scene."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np

from expkit.config.registry import datasets
from expkit.core.errors import ConfigError
from expkit.data.dataset import ImageDataset, Splits
from expkit.data.datasets.image_files import existing_folder
from expkit.data.datasets.leftovers import PassedOver, is_leftover
from expkit.data.decode import BadImage

_ALL: "WeakSet[ClosedBeforeForks]" = WeakSet()


@datasets.register("lsun")
def lsun(root: str, classes: list[str] | None = None) -> Splits:
    """LSUN's scenes, each in <scene>_train_lmdb and <scene>_val_lmdb below the root; needs the extra expkit[lsun]."""
    folder = existing_folder(root, "dataset.root")
    found = (place.name for place in folder.glob("*_train_lmdb") if not is_leftover(place.name))
    names = classes or sorted(name.removesuffix("_train_lmdb") for name in found)
    if not names:
        raise ConfigError(f"dataset.root: no <scene>_train_lmdb lies in '{root}'; put LSUN's lmdb folders there")
    if missing := [name for name in names if not (folder / f"{name}_train_lmdb").is_dir()]:
        raise ConfigError(f"dataset.classes: no {missing[0]}_train_lmdb lies in '{root}'")
    has_val = all((folder / f"{name}_val_lmdb").is_dir() for name in names)
    val = LmdbScenes(folder, names, "val") if has_val else None
    return Splits(LmdbScenes(folder, names, "train"), val, _passed_over(folder).notes())


def _passed_over(folder: Path) -> PassedOver:
    """Return notes on files other than the lmdb folders."""
    passed = PassedOver()
    for place in sorted(folder.iterdir()):
        if is_leftover(place.name):
            passed.leftover(place.name)
        elif not place.is_dir():
            passed.file(place.name)
    return passed


class LmdbScenes(ImageDataset):
    """Encoded images in one lmdb per class; each process opens its own handles, which must not survive a fork.

    lmdb refuses to open what its process has open, and a fork inherits that: before one, all are closed.
    """

    def __init__(self, root: Path, class_names: list[str], split: str) -> None:
        self.root, self.split, self.class_names = root, split, tuple(class_names)
        self._open = ClosedBeforeForks()
        keys = [self._keys(name) for name in class_names]
        self._sample_keys = np.array([key for some in keys for key in some], dtype=np.bytes_)
        self.targets = np.repeat(np.arange(len(keys)), [len(some) for some in keys])

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": ClosedBeforeForks()}  # a spawned worker opens its own, too

    def _database(self, name: str) -> Any:
        try:
            import lmdb
        except ImportError as error:
            raise ConfigError("dataset.name: lsun needs the package lmdb; install expkit[lsun]") from error
        path = self.root / f"{name}_{self.split}_lmdb"
        try:
            return self._open.get(name, lambda: lmdb.open(str(path), readonly=True, lock=False, readahead=False))
        except (lmdb.Error, OSError) as error:
            raise ConfigError(f"dataset.root: '{path}' is no lmdb that can be read: {error}") from error

    def _keys(self, name: str) -> list[bytes]:
        database = self._database(name)
        try:
            with database.begin() as transaction:
                return [bytes(key) for key in transaction.cursor().iternext(keys=True, values=False)]
        except Exception as error:  # lmdb detects damage only while reading
            path = self.root / f"{name}_{self.split}_lmdb"
            raise ConfigError(f"dataset.root: '{path}' is damaged: {error}; copy it anew") from error

    def sample_name(self, index: int) -> str:
        return f"{self.class_names[self.targets[index]]}/{self._sample_keys[index].decode('utf-8', 'replace')}"

    def location(self, index: int) -> str:
        return f"{self.root} ({self.split}): {self.sample_name(index)}"

    def encoded(self, index: int) -> bytes:
        try:
            with self._database(self.class_names[self.targets[index]]).begin() as transaction:
                return bytes(transaction.get(self._sample_keys[index]) or b"")
        except (ConfigError, RuntimeError) as error:  # lmdb's errors, as python's lmdb has them, are no OSError
            raise BadImage(self.location(index), str(error)) from error


class ClosedBeforeForks:
    """Open handles by name; no process uses a handle that another process opened."""

    def __init__(self) -> None:
        self._open: dict[str, Any] = {}
        _ALL.add(self)

    def get(self, name: str, opening: Callable[[], Any]) -> Any:
        """Return the handle of a name; open it if needed."""
        if name not in self._open:
            self._open[name] = opening()
        return self._open[name]

    def close(self) -> None:
        """Close all handles; the next read opens them again."""
        while self._open:
            self._open.popitem()[1].close()


def _close_all() -> None:
    for handles in list(_ALL):
        handles.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_close_all)
