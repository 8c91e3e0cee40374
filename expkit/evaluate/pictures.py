"""A confusion matrix and the worst mistakes, as pictures."""

from collections.abc import Sequence

from PIL import Image, ImageDraw
from torch import Tensor

from expkit.drawing import BACKGROUND, GAP, INK, Tile, draw_grid, font, shorten

MOST_CLASSES = 60  # drawn in a confusion matrix; the CSV has all
WORST = 24  # mistakes shown
_NAME = 130  # pixels, for a class's name
_CELL = 44  # pixels, side of a cell; smaller where there are many
_BLUE = (23, 78, 166)


def draw_confusion(confusion: Tensor, names: Sequence[str], title: str) -> Image.Image:
    """Return the matrix: rows are the true classes, columns the predicted ones; a cell's blue is its row's share.

    confusion: (C, C) counts. Of more than MOST_CLASSES classes those are drawn that are confused most often.
    """
    if len(names) > MOST_CLASSES:
        wrong = confusion.sum(0) + confusion.sum(1) - 2 * confusion.diagonal()
        kept = wrong.topk(MOST_CLASSES).indices.sort().values
        title = f"{title} (the {MOST_CLASSES} of {len(names)} classes that are confused most often)"
        confusion, names = confusion[kept][:, kept], [names[place] for place in kept.tolist()]
    cell = _CELL if len(names) <= 20 else 18
    top = GAP + 24 + _NAME
    size = GAP + _NAME + len(names) * cell + GAP
    picture = Image.new("RGB", (max(size, 420), top + len(names) * cell + GAP), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    draw.text((GAP, GAP), shorten(title, picture.width - 2 * GAP, font(16)), fill=INK, font=font(16))
    for row, name in enumerate(names):
        _draw_names(picture, draw, name, row, cell, top)
        total = max(int(confusion[row].sum()), 1)
        for column in range(len(names)):
            place = (GAP + _NAME + column * cell, top + row * cell)
            _draw_cell(draw, place, cell, int(confusion[row, column]), total)
    return picture


def _draw_names(picture: Image.Image, draw: ImageDraw.ImageDraw, name: str, number: int, cell: int, top: int) -> None:
    shown = shorten(name, _NAME - 8, font(13))
    draw.text((GAP + _NAME - 6, top + number * cell + cell // 2), shown, fill=INK, font=font(13), anchor="rm")
    upright = Image.new("RGB", (_NAME - 6, 18), BACKGROUND)
    ImageDraw.Draw(upright).text((0, 2), shown, fill=INK, font=font(13))
    left = GAP + _NAME + number * cell + (cell - 18) // 2
    picture.paste(upright.transpose(Image.Transpose.ROTATE_90), (left, top - _NAME + 2))


def _draw_cell(draw: ImageDraw.ImageDraw, place: tuple[int, int], cell: int, count: int, total: int) -> None:
    share = count / total
    colour = tuple(round(255 + share * (dark - 255)) for dark in _BLUE)
    left, top = place
    draw.rectangle((left, top, left + cell - 2, top + cell - 2), fill=colour)
    if count and cell == _CELL:
        ink = BACKGROUND if share > 0.5 else INK
        draw.text((left + cell // 2, top + cell // 2), f"{count:,}", fill=ink, font=font(13), anchor="mm")


def draw_mistakes(tiles: Sequence[Tile], title: str) -> Image.Image:
    """Return the worst mistakes, the worst first."""
    return draw_grid(tiles, min(6, max(len(tiles), 1)), title)
