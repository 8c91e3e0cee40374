"""The built-in data set: generated shapes, saved as JPEG files; nothing is downloaded."""

import json
import math
import os
import random
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor
from torchvision import tv_tensors

from expkit.config.registry import datasets
from expkit.core.errors import ConfigError
from expkit.core.progress import tracked
from expkit.core.seeding import derive_seed
from expkit.core.user_folders import expanded
from expkit.data.dataset import ImageDataset, Splits
from expkit.data.datasets.dogcat import read_names
from expkit.data.datasets.image_folder import read_folders
from expkit.data.targets import WithMasks, WithNumbers

CLASSES = ["circle", "cross", "square", "star", "triangle"]
_MOST_IMAGES = 10_000_000
Points = list[tuple[float, float]]


@datasets.register("shapes")
def shapes(
    root: str = "outputs/data/shapes",
    size: int = 64,
    train_images: int = 2000,
    val_images: int = 500,
    layout: Literal["folders", "names"] = "folders",
    draw_seed: int = 0,
) -> Splits:
    """Circles, crosses, squares, stars and triangles on noise, drawn as JPEG files at first use.

    Where root holds some that were drawn with other options, these lie beside it.
    size: side in pixels; train_images: how many to draw; val_images: how many more for validation; layout: a folder for
    each class, or names such as circle.12.jpg; draw_seed: another one draws
    other images.
    """
    if not 16 <= size <= 2048 or min(train_images, val_images) < len(CLASSES):
        raise ConfigError(f"dataset.size: takes 16 to 2,048 pixels, and at least {len(CLASSES)} images a split")
    if max(train_images, val_images) > _MOST_IMAGES:
        raise ConfigError(f"dataset.train_images: takes {_MOST_IMAGES:,} at most, and val_images too")
    options = {"size": size, "train_images": train_images, "val_images": val_images, "draw_seed": draw_seed}
    folder = _place(expanded(root), options)
    if not _is_drawn(folder, options):
        _draw_all(folder, options)
    read = (lambda place: read_folders(place, "dataset.root")) if layout == "folders" else _read_names
    splits = {split: read(folder / layout / split) for split in ("train", "val")}
    for split, data in splits.items():
        data.other_tasks = {
            "regression": partial(_with_numbers, split, draw_seed),
            "segmentation": partial(_with_masks, split, size, draw_seed),
        }
    return Splits(splits["train"], splits["val"])


def _read_names(folder: Path):  # type: ignore[no-untyped-def]
    return read_names(folder, CLASSES, "dataset.root")


def _place(root: Path, options: dict[str, int]) -> Path:
    if not root.exists() or _is_drawn(root, options):
        return root
    return root.with_name("_".join([root.name, *map(str, options.values())]))


def _is_drawn(folder: Path, options: dict[str, int]) -> bool:
    """Return True if the folder holds this data set. Raises ConfigError if it holds anything else."""
    marker = folder / "shapes.json"
    if not folder.exists():
        return False
    if not marker.is_file():
        raise ConfigError(f"dataset.root: '{folder}' exists and was not drawn by expkit; give another dataset.root")
    try:
        return bool(json.loads(marker.read_text("utf-8")) == options)
    except (OSError, ValueError, RecursionError) as error:
        problem = f"'{marker}' is damaged, so which images lie there is not known"
        raise ConfigError(f"dataset.root: {problem}; remove the folder, and they are drawn again") from error


def _draw_all(folder: Path, options: dict[str, int]) -> None:
    """Draw into a temporary folder and rename it, so that concurrent runs do not collide."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".shapes-", dir=folder.parent))
    except OSError as error:
        raise ConfigError(f"dataset.root: cannot write to '{folder.parent}': {error.strerror}") from error
    try:
        jobs = [(split, number) for split in ("train", "val") for number in range(options[f"{split}_images"])]
        for split, number in tracked(jobs, "drawing shapes", len(jobs)):
            _draw_file(temporary, split, number, options)
        (temporary / "shapes.json").write_text(json.dumps(options))
        temporary.chmod(0o755)
        os.rename(temporary, folder)
    except OSError as error:
        if not _is_drawn(folder, options):  # otherwise another run was faster, and its data set is identical
            problem = f"cannot draw the images in '{folder.parent}': {error.strerror or error}"
            raise ConfigError(f"dataset.root: {problem}; free some space, or give a folder on another disk") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _draw_file(folder: Path, split: str, number: int, options: dict[str, int]) -> None:
    name = CLASSES[number % len(CLASSES)]
    by_folder = folder / "folders" / split / name / f"{number}.jpg"
    by_name = folder / "names" / split / f"{name}.{number}.jpg"
    by_folder.parent.mkdir(parents=True, exist_ok=True)
    by_name.parent.mkdir(parents=True, exist_ok=True)
    draw(name, options["size"], derive_seed(options["draw_seed"], "draw", split, number)).save(by_folder, quality=90)
    shutil.copyfile(by_folder, by_name)


class Shape(NamedTuple):
    """What is drawn: two colours, and the corners of the shape as fractions of the image's side."""

    ground: NDArray[np.float64]
    ink: NDArray[np.float64]
    centre: tuple[float, float]
    corners: Points

    @property
    def area(self) -> float:
        """Of the shape, as a fraction of the image's: the shoelace formula."""
        x, y = np.array(self.corners).T
        return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)

    def coverage(self, size: int) -> NDArray[np.float64]:
        """Return (size, size) how much of each pixel lies within the shape, 0 to 1."""
        scale = 4  # drawn four times as large, for smooth edges
        mask = Image.new("L", (size * scale, size * scale))
        ImageDraw.Draw(mask).polygon([(x * size * scale, y * size * scale) for x, y in self.corners], fill=255)
        return np.asarray(mask.resize((size, size), Image.Resampling.BOX), dtype=np.float64) / 255


def shape(name: str, seed: int) -> Shape:
    """Return a shape of random colour, position, size and rotation."""
    chance = random.Random(seed)
    ground = np.array([chance.uniform(0, 255) for _ in range(3)])
    ink = ground
    while abs(ink - ground).sum() < 200:  # otherwise the shape is hard to see
        ink = np.array([chance.uniform(0, 255) for _ in range(3)])
    radius = chance.uniform(0.28, 0.4)
    x, y = (chance.uniform(radius, 1 - radius) for _ in range(2))
    turn = chance.uniform(0, 2 * math.pi)
    return Shape(ground, ink, (x, y), [(x + radius * dx, y + radius * dy) for dx, dy in _outline(name, turn)])


def draw(name: str, size: int, seed: int) -> Image.Image:
    """Return an RGB image, size by size pixels: a shape on noise."""
    noise, drawn = np.random.default_rng(seed), shape(name, seed)
    alpha = drawn.coverage(size)[..., None]
    pixels = drawn.ground * (1 - alpha) + drawn.ink * alpha + noise.normal(0, 8, (size, size, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _drawn(data: ImageDataset, index: int, split: str, draw_seed: int) -> tuple[int, Shape]:
    """Return (class, shape) of an image. Its number is part of its name in both layouts, and the key of its draws."""
    number = int(Path(data.sample_name(index)).stem.rpartition(".")[2])
    kind = int(data.targets[index])
    return kind, shape(CLASSES[kind], derive_seed(draw_seed, "draw", split, number))


def _with_numbers(split: str, draw_seed: int, data: ImageDataset) -> ImageDataset:
    """Return the images with the centre and the area of their shape, as fractions of the image's side and area."""
    shapes = [_drawn(data, index, split, draw_seed)[1] for index in range(len(data))]
    numbers = np.array([(*one.centre, one.area) for one in shapes], dtype=np.float32)
    return WithNumbers(data, ("centre_x", "centre_y", "area"), numbers)


def _with_masks(split: str, size: int, draw_seed: int, data: ImageDataset) -> ImageDataset:
    """Return the images with masks: 0 where there is noise, else the shape's class + 1."""
    return WithMasks(data, ("background", *CLASSES), partial(_mask, data, split, size, draw_seed))


def _mask(data: ImageDataset, split: str, size: int, draw_seed: int, index: int) -> Tensor:
    kind, drawn = _drawn(data, index, split, draw_seed)
    inside = torch.from_numpy(drawn.coverage(size) >= 0.5)
    mask: Tensor = tv_tensors.Mask(inside.to(torch.uint8) * (kind + 1))
    return mask


def _outline(name: str, turn: float) -> Points:
    """Return the corners of a shape, scaled to the unit circle."""
    if name == "star":
        return [_polar(turn + math.pi * corner / 5, 0.42 if corner % 2 else 1.0) for corner in range(10)]
    if name == "cross":
        arm = 0.3
        corners = [(1, arm), (arm, arm), (arm, 1), (-arm, 1), (-arm, arm), (-1, arm)]
        corners += [(-dx, -dy) for dx, dy in corners]
        return [_turned(dx, dy, turn) for dx, dy in corners]
    corners_of = {"triangle": 3, "square": 4, "circle": 40}
    return [_polar(turn + 2 * math.pi * corner / corners_of[name], 1.0) for corner in range(corners_of[name])]


def _polar(angle: float, radius: float) -> tuple[float, float]:
    return radius * math.cos(angle), radius * math.sin(angle)


def _turned(dx: float, dy: float, turn: float) -> tuple[float, float]:
    return dx * math.cos(turn) - dy * math.sin(turn), dx * math.sin(turn) + dy * math.cos(turn)
