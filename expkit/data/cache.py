"""A cache of decoded or fully transformed images: read once in parallel, then served from memory or a mapped file."""

import json
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from expkit.config.plugins import BringsPlugins
from expkit.core.errors import ConfigError
from expkit.core.escaping import name_bytes
from expkit.core.formatting import count_noun
from expkit.core.progress import tracked
from expkit.core.user_folders import expanded
from expkit.data.dataset import ImageDataset
from expkit.data.decode import BadImage
from expkit.data.transforms import Chain
from expkit.data.workers import start_worker

Kind = Literal["none", "memory", "disk"]
_ELSEWHERE = "give one on another disk, or dataset.cache=none"


@dataclass(frozen=True)
class Cache:
    """Where images are cached. kind: "memory" (this run only) or "disk" (later runs too, in `folder`)."""

    kind: Kind
    folder: Path
    num_workers: int = 0


def cached(data: ImageDataset, chain: Chain, cache: Cache, split: str) -> tuple[ImageDataset, Chain]:
    """Return the cached dataset and the transforms that remain to be applied.

    If no transform is random, they are applied once, before caching; otherwise the decoded images are cached. Raises
    ConfigError if there is not enough space.
    """
    if cache.kind == "none" or (data.in_memory and not chain.is_fixed):
        return data, chain
    keeps_final = chain.is_fixed and not data.reads_targets  # else the transforms move each target with its image
    before, after = (chain, Chain(())) if keeps_final else (Chain(()), chain)
    reader = _Reader(data, before)
    store = _in_memory(reader, cache, split) if cache.kind == "memory" else _on_disk(reader, cache, split)
    return CachedImages(data, store), after


class CachedImages(ImageDataset):
    """A dataset whose images are in a store; names and targets are those of the original dataset."""

    in_memory = True

    def __init__(self, data: ImageDataset, store: "Store") -> None:
        self.data, self.store = data, store
        self.class_names, self.targets, self.task = data.class_names, data.targets, data.task
        self.reads_targets = data.reads_targets
        same = len(store) > 0 and not store.reasons and bool((store.sizes == store.sizes[0]).all())
        self._stacked = store.pixels.view(len(store), *store.sizes[0].tolist(), 3) if same else None

    def sample_name(self, index: int) -> str:
        return self.data.sample_name(index)

    def location(self, index: int) -> str:
        return self.data.location(index)

    def target(self, index: int) -> Tensor:
        return self.data.target(index)

    def image(self, index: int) -> Tensor:
        """Return (3, H, W) uint8, read-only."""
        if index in self.store.reasons:
            raise BadImage(self.location(index), self.store.reasons[index])
        height, width = self.store.sizes[index].tolist()
        end = int(self.store.ends[index])
        return self.store.pixels[end - height * width * 3 : end].view(height, width, 3).permute(2, 0, 1)

    def images(self, indices: NDArray[np.int64]) -> Tensor | None:
        """Return (N, 3, H, W) uint8, read-only; consecutive images, as in evaluation, are not copied."""
        if self._stacked is None:
            return None
        first = int(indices[0]) if len(indices) else 0
        if len(indices) and np.array_equal(indices, np.arange(first, first + len(indices))):
            return self._stacked[first : first + len(indices)].permute(0, 3, 1, 2)
        return self._stacked[torch.from_numpy(indices)].permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Store:
    """Concatenated images. pixels: bytes of all images, (h, w, 3) each; sizes: (N, 2); ends: (N,) end offsets."""

    pixels: Tensor
    sizes: NDArray[np.int64]
    reasons: Mapping[int, str]  # index -> why the image cannot be read

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def ends(self) -> NDArray[np.int64]:
        """(N,) int64, the offset after each image's last byte."""
        if "_ends" not in self.__dict__:
            self.__dict__["_ends"] = np.cumsum(self.sizes.prod(axis=1) * 3)
        ends: NDArray[np.int64] = self.__dict__["_ends"]
        return ends


class _Reader(BringsPlugins, Dataset[Tensor | str]):
    """Every image after its fixed transforms; the reason if it cannot be read."""

    def __init__(self, data: ImageDataset, chain: Chain) -> None:
        self.data, self.chain = data, chain

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Tensor | str:
        try:
            image = self.chain.apply_to_sample(self.data.image(index), partial(self.data.location, index))
            return image.movedim(0, -1).contiguous()
        except BadImage as error:
            return error.reason

    def digest(self) -> str:
        """Return a digest of the samples, their files' sizes and times, the decoder and the transforms."""
        content = sha256(repr((self.data.decoder, self.chain.steps)).encode())
        for index in range(len(self.data)):
            content.update(name_bytes(self.data.sample_name(index)) + b"\0")
            try:
                status = os.stat(self.data.location(index))
                content.update(b"%d %d\0" % (status.st_size, status.st_mtime_ns))
            except OSError:  # not a file
                continue
        return content.hexdigest()[:24]


def _in_memory(reader: _Reader, cache: Cache, split: str) -> Store:
    with _anonymous_file() as file:
        room = _free_memory()
        remedy = "dataset.cache=disk, or smaller images"
        sizes, reasons = _fill(file, reader, cache, split, room, f"dataset.cache: memory has no room; use {remedy}")
        return Store(_mapped(file), sizes, reasons)


def _anonymous_file() -> BinaryIO:
    """Return an unnamed file, which disappears with the last process that has it open."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("expkit-cache"), "w+b")
    return tempfile.TemporaryFile()


def _free_memory() -> int:
    """Return the bytes that a cache in memory may use: four fifths of free memory."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        free = shutil.disk_usage(tempfile.gettempdir()).free
    return free * 4 // 5


def _on_disk(reader: _Reader, cache: Cache, split: str) -> Store:
    folder = expanded(cache.folder) / reader.digest()
    if found := _read(folder, len(reader)):
        return found
    with suppress(OSError):  # a damaged cache, which another run may be removing too
        shutil.rmtree(folder)
    _write(reader, cache, split, folder)
    if found := _read(folder, len(reader)):
        return found
    raise ConfigError(f"dataset.cache_dir: '{folder}' is damaged; remove it, and the images are read again")


def _read(folder: Path, count: int) -> Store | None:
    """Return the images of a cache; None if there is none or it is damaged."""
    try:
        index = json.loads((folder / "index.json").read_text("utf-8"))
        reasons = {int(number): str(reason) for number, reason in index["reasons"].items()}
        sizes = [(height, width) for height, width in index["sizes"]]
        sound = all(type(side) is int and 0 <= side < 2**31 for size in sizes for side in size)
        total = sum(height * width * 3 for height, width in sizes) if sound else -1
        digest = _digest(index["sizes"], index["reasons"])
        if index["sha256"] != digest or len(sizes) != count or total != (folder / "pixels").stat().st_size:
            return None
        with open(folder / "pixels", "rb") as file:
            return Store(_mapped(file), np.array(sizes, dtype=np.int64).reshape(-1, 2), reasons)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def _digest(sizes: list[list[int]], reasons: Mapping[Any, str]) -> str:
    """Return a digest of an index: other sizes of the same sum would give other images."""
    return sha256(json.dumps([sizes, reasons]).encode()).hexdigest()


def _write(reader: _Reader, cache: Cache, split: str, folder: Path) -> None:
    """Write into a temporary folder and rename it, so that killed or concurrent runs leave no partial cache."""
    try:
        expanded(cache.folder).mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".", dir=folder.parent))
    except OSError as error:
        problem = f"cannot write to '{cache.folder}': {error.strerror}"
        raise ConfigError(f"dataset.cache_dir: {problem}; give a folder that you may write to") from error
    try:
        room = shutil.disk_usage(temporary).free * 9 // 10
        full = f"dataset.cache_dir: no room in '{cache.folder}'; {_ELSEWHERE}"
        with open(temporary / "pixels", "w+b") as file:
            sizes, reasons = _fill(file, reader, cache, split, room, full)
        index = {"sizes": sizes.tolist(), "reasons": reasons}
        (temporary / "index.json").write_text(json.dumps(index | {"sha256": _digest(**index)}))
        os.rename(temporary, folder)
    except OSError as error:
        if not (folder / "index.json").is_file():  # otherwise another run was faster, and its cache is identical
            problem = f"cannot write to '{cache.folder}': {error.strerror}"
            raise ConfigError(f"dataset.cache_dir: {problem}; {_ELSEWHERE}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _fill(
    file: BinaryIO, reader: _Reader, cache: Cache, split: str, room: int, full: str
) -> tuple[NDArray[np.int64], dict[int, str]]:
    """Append the pixels of every image; return (N, 2) sizes and the reasons for unreadable images."""
    sizes, reasons = np.zeros((len(reader), 2), dtype=np.int64), {}
    written = 0
    images = tracked(_read_all(reader, cache.num_workers), f"caching {split} images", len(reader))
    for index, image in enumerate(images):
        if isinstance(image, str):
            reasons[index] = image
            continue
        written += image.numel()
        if written > room:
            raise ConfigError(
                f"{full} ({index:,} of {count_noun(len(reader), 'image')} took {written / 2**30:.1f} GiB)"
            )
        sizes[index] = image.shape[:2]
        file.write(image.numpy().data)
    file.flush()
    return sizes, reasons


def _read_all(reader: _Reader, num_workers: int) -> Iterator[Tensor | str]:
    options: dict[str, Any] = {}
    if num_workers:
        options = {"worker_init_fn": start_worker, "prefetch_factor": 16}
    identity: Callable[[Any], Any] = _identity
    return iter(
        DataLoader(
            reader,
            batch_size=None,
            collate_fn=identity,
            num_workers=num_workers,
            generator=torch.Generator(),
            **options,
        )
    )


def _identity(image: Any) -> Any:
    return image


def _mapped(file: BinaryIO) -> Tensor:
    """Return the bytes of a file as a tensor, shared by all processes that are forked from this one."""
    if not (length := os.fstat(file.fileno()).st_size):
        return torch.empty(0, dtype=torch.uint8)
    # Copy on write: an accidental write into an image changes only this process's copy of the page.
    return torch.frombuffer(mmap.mmap(file.fileno(), length, access=mmap.ACCESS_COPY), dtype=torch.uint8)
