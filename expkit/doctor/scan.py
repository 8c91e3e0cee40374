"""One pass over every image, on all cores: whether it can be read, and the facts that the other checks need."""

import hashlib
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

import imagehash
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional

from expkit.data.dataset import ImageDataset, Splits, Subset
from expkit.data.decode import BadImage
from expkit.data.deep import Span, span_at
from expkit.doctor.reader_pool import Lost, read_all

SMALL = 32  # pixels, side of the copy that the perceptual hash is made from
THUMBNAIL = 16  # pixels, side of the copy that confirms near duplicates
_ORIENTATION = 0x0112  # EXIF tag; 1 is upright


@dataclass(frozen=True)
class Reading:
    """The facts about one image.

    mode: Pillow's mode of the file, "" without a file; turned: whether its EXIF asks for a rotation. digest: sha256 of
    the RGB pixels; perceptual: a 64-bit hash; thumbnail: (16, 16, 3) uint8. mean, square: per channel, of the values
    and of their squares, both scaled to 0..1. span: the value range in the file of an image with more than 8 bits.
    """

    width: int
    height: int
    mode: str
    turned: bool
    digest: str
    perceptual: int
    thumbnail: NDArray[np.uint8]
    mean: NDArray[np.float64]
    square: NDArray[np.float64]
    span: Span | None = None

    @property
    def one_colour(self) -> bool:
        return bool(np.allclose(self.square, self.mean**2, rtol=0, atol=1e-9))


class Collection:
    """The samples of all splits, numbered in a row. held_out: whether validation is a part of the training data."""

    def __init__(self, splits: Splits) -> None:
        self.parts = {"train": splits.train} | ({"val": splits.val} if splits.val else {})
        self.class_names, self.held_out = splits.train.class_names, splits.held_out

    def __len__(self) -> int:
        return sum(map(len, self.parts.values()))

    @cached_property
    def split_of(self) -> list[str]:
        return [split for split, part in self.parts.items() for _ in range(len(part))]

    def find(self, number: int) -> tuple[ImageDataset, int]:
        """Return the split's dataset and the sample's index in it."""
        for part in self.parts.values():
            if number < len(part):
                return part, number
            number -= len(part)
        raise IndexError(number)

    def describe(self, number: int) -> str:
        return f"{self.name(number)} ({self.split_of[number]}, {self.label(number)})"

    def name(self, number: int) -> str:
        part, index = self.find(number)
        return part.sample_name(index)

    def location(self, number: int) -> str:
        part, index = self.find(number)
        return part.location(index)

    def label(self, number: int) -> str:
        return label(*self.find(number))


def label(data: ImageDataset, index: int) -> str:
    """Return the class names of a sample."""
    target = data.targets[index]
    classes = [int(target)] if data.targets.ndim == 1 else np.flatnonzero(target).tolist()
    return ", ".join(data.class_names[one] for one in classes)


@dataclass
class Scan:
    """readings: sample number -> its facts; bad: number -> why it cannot be used; unfit: too thin to transform."""

    collection: Collection
    readings: dict[int, Reading] = field(default_factory=dict)
    bad: dict[int, str] = field(default_factory=dict)
    unfit: set[int] = field(default_factory=set)
    seconds: float = 0.0
    processes: int = 1

    def readable(self, split: str) -> Subset:
        """Return the samples of a split that can be read."""
        offset = 0 if split == "train" else len(self.collection.parts["train"])
        part = self.collection.parts[split]
        good = [index for index in range(len(part)) if offset + index in self.readings]
        return Subset(part, np.array(good, dtype=np.int64))


def scan(
    collection: Collection, processes: int, timeout: float, advance: Callable[[int, str], None] = lambda *done: None
) -> Scan:
    """Read every sample once. timeout: seconds per sample; advance: of a progress bar."""
    found = Scan(collection, processes=processes)
    began = time.perf_counter()
    for number, answer in read_all(partial(look, collection), len(collection), processes, timeout):
        if isinstance(answer, Reading):
            found.readings[number] = answer
        else:
            found.bad[number] = answer.reason if isinstance(answer, Lost) else answer
        advance(1, f"reading, {len(found.bad):,} unreadable")
    found.seconds = time.perf_counter() - began
    return found


def look(collection: Collection, number: int) -> Reading | str:
    """Return the facts about one sample, or why it cannot be read."""
    torch.set_num_threads(1)  # there is a process per core already
    try:
        part, index = collection.find(number)
        return replace(measure(part.image(index), Path(part.location(index))), span=span_at(part, index))
    except BadImage as error:
        return error.reason
    except Exception as error:  # whatever a dataset raises, it is this sample that cannot be read
        return f"{type(error).__name__}: {error}"


def measure(image: Tensor, path: Path) -> Reading:
    """Return the facts about a decoded image, (3, H, W) uint8, and the header of its file, if there is one."""
    pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    height, width, _ = pixels.shape
    digest = hashlib.sha256(f"{width}×{height}".encode())
    digest.update(pixels.tobytes())
    small = functional.resize(image, [SMALL, SMALL], antialias=True).permute(1, 2, 0).contiguous().numpy()
    mean, square = _moments(pixels)
    mode, turned = _header(path)
    perceptual = int(str(imagehash.phash(Image.fromarray(small))), 16)
    return Reading(width, height, mode, turned, digest.hexdigest(), perceptual, _shrink(small), mean, square)


def _shrink(small: NDArray[np.uint8]) -> NDArray[np.uint8]:
    block = SMALL // THUMBNAIL
    averaged = small.reshape(THUMBNAIL, block, THUMBNAIL, block, 3).mean(axis=(1, 3))
    return np.asarray(averaged.round(), dtype=np.uint8)


def _moments(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return per channel the mean of the values and of their squares, scaled to 0..1.

    Pillow's histogram is exact and ten times faster than sums over the pixels.
    """
    counts = np.array(Image.fromarray(pixels).histogram(), dtype=np.float64).reshape(3, 256)
    shares = counts / counts[0].sum()
    levels = np.arange(256) / 255
    return shares @ levels, shares @ levels**2


def _header(path: Path) -> tuple[str, bool]:
    """Return the file's mode and whether it asks to be rotated, without decoding it."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            return image.mode, image.getexif().get(_ORIENTATION, 1) in range(2, 9)
    except Exception:  # Pillow may raise anything on a damaged file
        return "", False  # no file of its own, or one that only another decoder reads: it has been read already
