"""The registered names of my_project, for `name:` in a config: the data set `patterns` and the model `pattern_net`.

A name stands for a function with annotated options, which a config may set and is checked against. What a run finds out
by itself, such as the number of classes, is passed to a parameter of that name.
"""

from pathlib import Path

import numpy as np
from PIL import Image
from torch import nn

from expkit.extend import ConfigError, Splits, datasets, models, read_folders

CLASSES = ("checks", "columns", "rows")


@datasets.register("patterns", "my_project")
def patterns(root: str = "data/patterns", size: int = 32, images: int = 600) -> Splits:
    """Checks, columns and rows in random colours: PNG files in one folder per class, drawn at first use."""
    if size < 16 or images < 6:
        raise ConfigError(
            f"dataset.size: takes 16 or more, and images {2 * len(CLASSES)} or more; got {size}, {images}"
        )
    folder = Path(root) / f"{images}_of_{size}_pixels"
    if not folder.exists():
        draw_all(folder, size, images)
    return Splits(read_folders(folder, "dataset.root"))  # without a second split, a share is held out for validation


def draw_all(folder: Path, size: int, images: int) -> None:
    """Draw into a folder beside, and rename it: a stop in the middle leaves no half data set."""
    unfinished = folder.with_suffix(".unfinished")
    for number in range(images):
        name = CLASSES[number % len(CLASSES)]
        (unfinished / name).mkdir(parents=True, exist_ok=True)
        draw(name, size, np.random.default_rng(number)).save(unfinished / name / f"{number}.png")
    unfinished.rename(folder)


def draw(name: str, size: int, chance: np.random.Generator) -> Image.Image:
    """Return an RGB image of size by size pixels: a pattern in two colours, with noise."""
    x, y = np.meshgrid(np.arange(size), np.arange(size)) + chance.uniform(0, size, (2, 1, 1))
    columns, rows = np.sin(2 * np.pi / chance.uniform(5, 12) * np.stack([x, y]))
    waves = {"columns": columns, "rows": rows, "checks": columns * rows}[name]
    dark, light = chance.uniform(0, 110, 3), chance.uniform(145, 255, 3)
    pixels = np.where(waves[..., None] > 0, light, dark) + chance.normal(0, 25, (size, size, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@models.register("pattern_net", "my_project")
def pattern_net(num_classes: int, width: int = 8, dropout: float = 0.0) -> nn.Module:
    """Three convolutions, each at half the size of the one before, and a linear layer on their mean."""
    layers: list[nn.Module] = []
    for channels_in, channels_out in ((3, width), (width, 2 * width), (2 * width, 4 * width)):
        layers += [nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(channels_out), nn.ReLU()]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(4 * width, num_classes)]
    return nn.Sequential(*layers, *head)
