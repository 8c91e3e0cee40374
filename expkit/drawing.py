"""Grids of images with captions, for looking at."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

TILE = 160  # pixels, side of the square that an image is fitted into
GAP = 12  # pixels between tiles
LINE = 18  # pixels, height of a line of text
BACKGROUND, FRAME, INK, FAINT = "#ffffff", "#eef0f2", "#1c2024", "#6a7178"


@dataclass(frozen=True)
class Tile:
    """An image with a caption and a fainter line below it. image: (3, H, W) uint8."""

    image: Tensor
    caption: str
    remark: str = ""


def draw_grid(tiles: Sequence[Tile], columns: int, title: str) -> Image.Image:
    """Return the tiles in rows of `columns`, below a title."""
    rows = -(-len(tiles) // columns)
    width = GAP + columns * (TILE + GAP)
    top = GAP + LINE + GAP
    picture = Image.new("RGB", (width, top + rows * (TILE + 2 * LINE + GAP)), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    draw.text((GAP, GAP), shorten(title, width - 2 * GAP, font(16)), fill=INK, font=font(16))
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        _draw_tile(picture, draw, tile, GAP + column * (TILE + GAP), top + row * (TILE + 2 * LINE + GAP))
    return picture


def _draw_tile(picture: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, left: int, top: int) -> None:
    draw.rectangle((left, top, left + TILE - 1, top + TILE - 1), fill=FRAME)
    image = _fit(tile.image)
    picture.paste(image, (left + (TILE - image.width) // 2, top + (TILE - image.height) // 2))
    for line, (text, colour) in enumerate(((tile.caption, INK), (tile.remark, FAINT))):
        shown = shorten(text, TILE, font(13))
        draw.text((left, top + TILE + 2 + line * LINE), shown, fill=colour, font=font(13))


def _fit(image: Tensor) -> Image.Image:
    """Return the image scaled to fit a tile; one much smaller keeps its pixels visible."""
    pillow = Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy()))
    scale = TILE / max(pillow.size)
    size = (max(round(pillow.width * scale), 1), max(round(pillow.height * scale), 1))
    return pillow.resize(size, Image.Resampling.NEAREST if scale > 2 else Image.Resampling.LANCZOS)


def font(points: int) -> Font:
    """Return Pillow's own font, which every machine has, in a size."""
    return ImageFont.load_default(points)


def shorten(text: str, width: int, face: Font) -> str:
    """Return the text, cut in its middle where it is wider than `width` pixels."""
    if face.getlength(text) <= width:
        return text
    for kept in range(len(text) - 1, 1, -1):
        shorter = text[: kept // 2] + "..." + text[len(text) - (kept - kept // 2) :]
        if face.getlength(shorter) <= width:
            return shorter
    return text[:1]
