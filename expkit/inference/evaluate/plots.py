"""A confusion matrix and the worst mistakes, as pictures."""

from collections.abc import Sequence

from PIL import Image
from torch import Tensor

from expkit.core.plots.heatmap import draw_matrix
from expkit.core.plots.image_grid import Tile, draw_grid

MOST_CLASSES = 60  # drawn in a confusion matrix; the CSV has all
WORST = 24  # mistakes shown


def draw_confusion(confusion: Tensor, names: Sequence[str], title: str) -> Image.Image:
    """Return the matrix: rows are the true classes, columns the predicted ones; a cell's colour is its row's share.

    confusion: (C, C) counts. Of more than MOST_CLASSES classes those are drawn that are confused most often.
    """
    if len(names) > MOST_CLASSES:
        wrong = confusion.sum(0) + confusion.sum(1) - 2 * confusion.diagonal()
        kept = wrong.topk(MOST_CLASSES).indices.sort().values
        title = f"{title} (the {MOST_CLASSES} of {len(names)} classes that are confused most often)"
        confusion, names = confusion[kept][:, kept], [names[place] for place in kept.tolist()]
    return draw_matrix(confusion.numpy(), names, title)


def draw_mistakes(tiles: Sequence[Tile], title: str) -> Image.Image:
    """Return the worst mistakes, the worst first."""
    return draw_grid(tiles, min(6, max(len(tiles), 1)), title)
