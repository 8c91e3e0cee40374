"""Pictures: every tile in its place, labels below, the classes in turn."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from expkit.core.plots.image_grid import BACKGROUND, GAP, LINE, TILE, Tile, draw_grid
from expkit.data.datasets import load
from expkit.doctor.plots import choose, draw_samples, draw_transforms
from tests.doctor.drawn import write


def plain(colour: tuple[int, int, int], height: int = 50, width: int = 50) -> torch.Tensor:
    return torch.tensor(colour, dtype=torch.uint8).view(3, 1, 1).expand(3, height, width)


def tile_at(picture: Image.Image, row: int, column: int) -> tuple[int, int]:
    """Return the middle of a tile."""
    left, top = GAP + column * (TILE + GAP), 2 * GAP + LINE + row * (TILE + 2 * LINE + GAP)
    return left + TILE // 2, top + TILE // 2


def test_tiles_stand_in_rows_with_their_captions_below() -> None:
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    tiles = [Tile(plain(colour), "a caption", "a remark") for colour in colours]
    picture = draw_grid(tiles, columns=2, title="title")
    assert picture.width == GAP + 2 * (TILE + GAP)
    assert [picture.getpixel(tile_at(picture, *divmod(number, 2))) for number in range(3)] == colours
    _, middle = tile_at(picture, 0, 0)
    caption = picture.crop((GAP, middle + TILE // 2, GAP + TILE, middle + TILE // 2 + 2 * LINE))
    empty = picture.crop((GAP + TILE + GAP, tile_at(picture, 1, 1)[1], picture.width, picture.height))
    assert np.array(caption).min() < 100
    assert set(map(tuple, np.array(empty).reshape(-1, 3).tolist())) == {tuple(bytes.fromhex(BACKGROUND[1:]))}


def test_long_captions_stay_within_their_tile() -> None:
    picture = draw_grid([Tile(plain((9, 9, 9)), "word " * 60, "x" * 200)], columns=2, title="t" * 500)
    margins = np.array(picture.crop((GAP + TILE + 1, 2 * GAP + LINE, picture.width, picture.height)))
    assert margins.min() == 255


def test_images_keep_their_proportions_whatever_their_size() -> None:
    for height, width in ((1000, 500), (10, 5), (1, 400)):
        picture = draw_grid([Tile(plain((0, 0, 0), height, width), "")], columns=1, title="")
        dark = (np.array(picture)[2 * GAP + LINE : 2 * GAP + LINE + TILE].max(axis=2) < 20).nonzero()
        tall, wide = (int(places.max() - places.min() + 1) for places in dark)
        assert (tall, wide) == (
            max(round(TILE * height / max(height, width)), 1),
            max(round(TILE * width / max(height, width)), 1),
        )


def test_classes_are_chosen_in_turn_and_spread(tmp_path: Path) -> None:
    root = write(tmp_path / "pets", *(f"cat/{n}.jpg" for n in range(9)), *(f"dog/{n}.jpg" for n in range(3)))
    data = load({"name": "image_folder", "root": str(root), "val_fraction": 0.1}).train
    labels = [int(data.targets[index]) for index in choose(data, 6)]
    assert labels[:4] == [0, 1, 0, 1]
    assert len(set(choose(data, 100).tolist())) == len(data)
    picture = draw_samples(data, choose(data, 4), columns=4)
    assert picture.height == 2 * GAP + LINE + TILE + 2 * LINE + GAP


def test_a_row_shows_the_original_the_draws_and_the_evaluation() -> None:
    red, green, blue = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
    picture = draw_transforms([("cat/1.jpg", plain(red), [plain(green)] * 2, plain(blue))] * 2)
    seen = [picture.getpixel(tile_at(picture, row, column)) for row in range(2) for column in range(4)]
    assert seen == [red, green, green, blue] * 2
