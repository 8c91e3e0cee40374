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
    """An image with a caption and fainter lines below it, framed if it has a colour. image: (3, H, W) uint8."""

    image: Tensor
    caption: str
    remark: str = ""
    colour: str = ""  # of the frame and the caption
    more: Sequence[str] = ()  # further lines


def draw_grid(
    tiles: Sequence[Tile], columns: int, title: str, side: int = TILE, width: int | None = None,
    legend: Sequence[tuple[tuple[int, int, int], str]] = (),
) -> Image.Image:  # fmt: skip
    """Draw the tiles in rows of `columns`, below a title and a legend of colours.

    side: height of a tile's image in pixels. width: of a tile, None for a square.
    """
    width, rows = width or side, -(-len(tiles) // columns)
    across, down = width + GAP, side + LINE * (2 + max((len(tile.more) for tile in tiles), default=0)) + GAP
    top = GAP + LINE + GAP + (LINE if legend else 0)
    picture = Image.new("RGB", (GAP + columns * across, top + rows * down), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    draw.text((GAP, GAP), shorten(title, picture.width - 2 * GAP, font_of(16)), fill=INK, font=font_of(16))
    _draw_legend(draw, legend, picture.width)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        _draw_tile(picture, draw, tile, (GAP + column * across, top + row * down), (width, side))
    return picture


def _draw_legend(
    draw: ImageDraw.ImageDraw, legend: Sequence[tuple[tuple[int, int, int], str]], width: int
) -> None:  # fmt: skip
    """Write names beside squares of their colour, in one line; those that find no room are counted."""
    left, top, font = GAP, GAP + LINE + 4, font_of(13)
    for number, (colour, name) in enumerate(legend):
        text = shorten(name, TILE, font)
        if left + LINE + font.getlength(text) > width - 6 * GAP and number < len(legend) - 1:
            draw.text((left, top), f"and {len(legend) - number:,} more", fill=FAINT, font=font)
            return
        draw.rectangle((left, top + 3, left + GAP, top + 3 + GAP), fill=colour)
        draw.text((left + LINE, top), text, fill=INK, font=font)
        left += LINE + round(font.getlength(text)) + GAP


def _draw_tile(
    picture: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, place: tuple[int, int], size: tuple[int, int]
) -> None:  # fmt: skip
    (left, top), (width, height) = place, size
    draw.rectangle((left, top, left + width - 1, top + height - 1), fill=FRAME)
    image = _fit(tile.image, width, height)
    picture.paste(image, (left + (width - image.width) // 2, top + (height - image.height) // 2))
    if tile.colour:
        draw.rectangle((left - 3, top - 3, left + width + 2, top + height + 2), outline=tile.colour, width=3)
    lines = [(tile.caption, tile.colour or INK), (tile.remark, FAINT), *((text, FAINT) for text in tile.more)]
    for line, (text, colour) in enumerate(lines):
        shown = shorten(text, width, font_of(13))
        draw.text((left, top + height + 2 + line * LINE), shown, fill=colour, font=font_of(13))


def _fit(image: Tensor, width: int, height: int) -> Image.Image:
    """Return the image scaled to fit a tile; the pixels of small images stay visible."""
    pillow = Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy()))
    scale = min(width / pillow.width, height / pillow.height)
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
