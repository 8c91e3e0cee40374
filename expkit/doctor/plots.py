"""Draw samples with their labels, and transformed samples."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from expkit.core.formatting import count_noun
from expkit.core.plots.image_grid import Tile, draw_grid
from expkit.data.dataset import ImageDataset
from expkit.doctor.scan import label


def choose(data: ImageDataset, count: int) -> NDArray[np.int64]:
    """Return up to `count` indices, spread over the classes in turn and evenly over each."""
    classes = data.targets if data.targets.ndim == 1 else data.targets.argmax(axis=1)
    members = [np.flatnonzero(classes == one) for one in np.unique(classes)]
    share = -(-count // max(len(members), 1))
    spread = [some[np.unique(np.linspace(0, len(some) - 1, share).round().astype(np.int64))] for some in members]
    in_turn = [some[place] for place in range(share) for some in spread if place < len(some)]
    return np.array(in_turn[:count], dtype=np.int64)


def draw_samples(data: ImageDataset, indices: NDArray[np.int64], columns: int) -> Image.Image:
    """Return a grid of the samples with their labels and names."""
    tiles = [Tile(data.image(index), label(data, index), data.sample_name(index)) for index in map(int, indices)]
    title = f"{len(tiles)} of {count_noun(len(data), 'training image')}, {count_noun(len(data.class_names), 'class')}"
    return draw_grid(tiles, columns, title)


def draw_transforms(rows: Sequence[tuple[str, Tensor, Sequence[Tensor], Tensor]]) -> Image.Image:
    """Return a grid with a row for each (name, original, draws of the train transforms, eval transforms)."""
    tiles = []
    for name, original, draws, evaluated in rows:
        tiles.append(Tile(original, f"original, {_size(original)}", name))
        tiles += [Tile(one, f"train, draw {number}", _size(one)) for number, one in enumerate(draws, start=1)]
        tiles.append(Tile(evaluated, "eval", _size(evaluated)))
    return draw_grid(tiles, len(rows[0][2]) + 2, "transformed training images, before normalisation")


def _size(image: Tensor) -> str:
    return f"{image.shape[-1]} x {image.shape[-2]}"  # Pillow's own font lacks "×"
