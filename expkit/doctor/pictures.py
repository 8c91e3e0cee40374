"""Pictures for looking at: samples with their labels, and what the transforms make of some."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from expkit.data.dataset import ImageDataset
from expkit.doctor.finding import counted
from expkit.doctor.scan import label

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
    draw.text((GAP, GAP), _shorten(title, width - 2 * GAP, _font(16)), fill=INK, font=_font(16))
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        _draw_tile(picture, draw, tile, GAP + column * (TILE + GAP), top + row * (TILE + 2 * LINE + GAP))
    return picture


def _draw_tile(picture: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, left: int, top: int) -> None:
    draw.rectangle((left, top, left + TILE - 1, top + TILE - 1), fill=FRAME)
    image = _fit(tile.image)
    picture.paste(image, (left + (TILE - image.width) // 2, top + (TILE - image.height) // 2))
    for line, (text, colour) in enumerate(((tile.caption, INK), (tile.remark, FAINT))):
        shown = _shorten(text, TILE, _font(13))
        draw.text((left, top + TILE + 2 + line * LINE), shown, fill=colour, font=_font(13))


def _fit(image: Tensor) -> Image.Image:
    """Return the image scaled to fit a tile; one much smaller keeps its pixels visible."""
    pillow = Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy()))
    scale = TILE / max(pillow.size)
    size = (max(round(pillow.width * scale), 1), max(round(pillow.height * scale), 1))
    return pillow.resize(size, Image.Resampling.NEAREST if scale > 2 else Image.Resampling.LANCZOS)


def _font(points: int) -> Font:
    return ImageFont.load_default(points)


def _shorten(text: str, width: int, font: Font) -> str:
    """Return the text, cut in its middle where it is wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    for kept in range(len(text) - 1, 1, -1):
        shorter = text[: kept // 2] + "..." + text[len(text) - (kept - kept // 2) :]
        if font.getlength(shorter) <= width:
            return shorter
    return text[:1]


def choose(data: ImageDataset, count: int) -> NDArray[np.int64]:
    """Return up to `count` indices, spread over the classes in turn and evenly over each."""
    classes = data.targets if data.targets.ndim == 1 else data.targets.argmax(axis=1)
    words = [word for word in range(len(data.class_names)) if (classes == word).any()]
    share = -(-count // max(len(words), 1))
    members = [np.flatnonzero(classes == word) for word in words]
    spread = [some[np.unique(np.linspace(0, len(some) - 1, share).round().astype(np.int64))] for some in members]
    in_turn = [some[place] for place in range(share) for some in spread if place < len(some)]
    return np.array(in_turn[:count], dtype=np.int64)


def draw_samples(data: ImageDataset, indices: NDArray[np.int64], columns: int) -> Image.Image:
    """Return the samples of these indices with their labels and names below."""
    tiles = [Tile(data.image(index), label(data, index), data.sample_name(index)) for index in map(int, indices)]
    says = f"{len(tiles)} of {counted(len(data), 'training image')}, {len(data.class_names)} classes"
    return draw_grid(tiles, columns, says)


def draw_transforms(rows: Sequence[tuple[str, Tensor, Sequence[Tensor], Tensor]]) -> Image.Image:
    """Return a row for each sample: (name, the original, draws of the train transforms, the eval ones)."""
    tiles = []
    for name, original, draws, evaluated in rows:
        tiles.append(Tile(original, f"original, {_size(original)}", name))
        tiles += [Tile(one, f"train, draw {number}", _size(one)) for number, one in enumerate(draws, start=1)]
        tiles.append(Tile(evaluated, "eval", _size(evaluated)))
    return draw_grid(tiles, len(rows[0][2]) + 2, "what the transforms make of some training images, before normalising")


def _size(image: Tensor) -> str:
    # an "x", since Pillow's own font lacks the sign
    return f"{image.shape[-1]} x {image.shape[-2]}"
