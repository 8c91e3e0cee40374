"""Networks whose output is an image."""

import pytest
import torch

from expkit.models.dense import Autoencoder


@pytest.mark.parametrize(("code", "grid"), [(128, 8), (48, 4), (8, 2), (7, 1)])
@pytest.mark.parametrize("size", [(32, 32), (64, 64), (50, 70)])
def test_a_code_lies_on_the_finest_grid_whose_cells_share_it(code: int, grid: int, size: tuple[int, int]) -> None:
    model, images = Autoencoder(3, code, width=2).eval(), torch.randn(2, 3, *size)
    assert model.grid == grid
    assert model.encode(images).shape == (2, code)
    pixels = model(images).detach()
    assert pixels.shape == images.shape
    assert 0 <= float(pixels.min()) <= float(pixels.max()) <= 1
