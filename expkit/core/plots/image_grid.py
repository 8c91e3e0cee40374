"""A grid of images with captions, to inspect data and predictions."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from expkit.core.escaping import one_line

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

TILE = 160  # pixels, side of the square for an image
GAP = 12  # pixels between tiles
LINE = 18  # pixels, height of a line of text
BACKGROUND, FRAME, INK, FAINT = "#ffffff", "#eef0f2", "#1c2024", "#6a7178"
RIGHT, WRONG = "#1a7f4b", "#c4321e"  # they differ in lightness too, and the caption states it


@dataclass(frozen=True)
class Tile:
    """An image with a caption and a fainter second line, framed if it has a colour. image: (3, H, W) uint8."""

    image: Tensor
    caption: str
    remark: str = ""
    colour: str = ""  # of the frame and the caption


def draw_grid(tiles: Sequence[Tile], columns: int, title: str, side: int = TILE) -> Image.Image:
    """Draw the tiles, squares of `side` pixels, in rows of `columns`, below a title."""
    rows = -(-len(tiles) // columns)
    width = GAP + columns * (side + GAP)
    top = GAP + LINE + GAP
    picture = Image.new("RGB", (width, top + rows * (side + 2 * LINE + GAP)), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    draw.text((GAP, GAP), shorten(title, width - 2 * GAP, font_of(16)), fill=INK, font=font_of(16))
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        _draw_tile(picture, draw, tile, GAP + column * (side + GAP), top + row * (side + 2 * LINE + GAP), side)
    return picture


def _draw_tile(picture: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, left: int, top: int, side: int) -> None:
    draw.rectangle((left, top, left + side - 1, top + side - 1), fill=FRAME)
    image = _fit(tile.image, side)
    picture.paste(image, (left + (side - image.width) // 2, top + (side - image.height) // 2))
    if tile.colour:
        draw.rectangle((left - 3, top - 3, left + side + 2, top + side + 2), outline=tile.colour, width=3)
    for line, (text, colour) in enumerate(((tile.caption, tile.colour or INK), (tile.remark, FAINT))):
        shown = shorten(text, side, font_of(13))
        draw.text((left, top + side + 2 + line * LINE), shown, fill=colour, font=font_of(13))


def _fit(image: Tensor, side: int) -> Image.Image:
    """Return the image scaled to fit a tile; the pixels of small images stay visible."""
    pillow = Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy()))
    scale = side / max(pillow.size)
    size = (max(round(pillow.width * scale), 1), max(round(pillow.height * scale), 1))
    return pillow.resize(size, Image.Resampling.NEAREST if scale > 2 else Image.Resampling.LANCZOS)


@cache
def font_of(points: int) -> Font:
    return ImageFont.load_default(points)


def shorten(text: str, width: int, font: Font) -> str:
    """Return the text, shortened in the middle if it is wider than `width` pixels."""
    is_long = len(text) > 4 * width  # it cannot fit, and measuring it would be slow
    text = one_line(text[: 2 * width] + text[-2 * width :] if is_long else text)
    if not is_long and font.getlength(text) <= width:
        return text
    fits, too_long = 1, len(text)  # characters that are kept
    while too_long - fits > 1:
        kept = (fits + too_long) // 2
        if font.getlength(_cut(text, kept)) <= width:
            fits = kept
        else:
            too_long = kept
    return _cut(text, fits) if fits > 1 else text[:1]


def _cut(text: str, kept: int) -> str:
    return text[: kept // 2] + "..." + text[len(text) - (kept - kept // 2) :]
