"""Test-time augmentation: the mean over views."""

import pytest
import torch
from torchvision.transforms.v2 import functional

import expkit
from expkit.inference import load_trained
from expkit.inference.tta import views_of


def test_flip_is_the_mean_of_both_sides(small_run: expkit.Run) -> None:
    trained = load_trained(small_run.folder, device="cpu")
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    both = (trained.probabilities(images) + trained.probabilities(images.flip(-1))) / 2
    assert torch.allclose(trained.probabilities(images, "flip"), both, atol=1e-6)
    assert not torch.allclose(trained.probabilities(images), both, atol=1e-6)


def test_five_crop_is_torchvisions_ten_crop_scaled_back() -> None:
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    expected = {functional.resize(crop, [32, 32]).numpy().tobytes() for crop in functional.ten_crop(images, [28, 28])}
    views = views_of(images, "five_crop")
    assert len(views) == 10
    assert all(view.shape == images.shape for view in views)
    centre = functional.resize(functional.center_crop(images, [28, 28]), [32, 32])
    assert any(torch.equal(view, centre) for view in views)
    # A crop that is mirrored before or after scaling differs by rounding alone.
    assert len({view.numpy().tobytes() for view in views[::2]} & expected) == 5


@pytest.mark.parametrize("views", ["flip", "five_crop"])
def test_probabilities_still_add_up(small_run: expkit.Run, views: str) -> None:
    trained = load_trained(small_run.folder, device="cpu")
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    assert trained.probabilities(images, views).sum(1).tolist() == pytest.approx([1, 1])  # type: ignore[arg-type]
