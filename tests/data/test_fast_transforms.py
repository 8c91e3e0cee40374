"""The quicker crop and flips give torchvision's own pixels, and leave its generator where torchvision would."""

import hashlib
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from expkit.data.transforms import Chain, build_chain

CROP = {"name": "RandomResizedCrop", "size": 24}
RECIPES: list[list[dict[str, Any]]] = [
    [CROP, {"name": "RandomHorizontalFlip"}, {"name": "RandomVerticalFlip", "p": 0.3}],
    [CROP, {"name": "RandomHorizontalFlip"}, {"name": "RandAugment"}],
    [CROP, {"name": "GaussianBlur", "kernel_size": 5}, {"name": "ColorJitter", "contrast": 0.5}],
    [{**CROP, "size": [16, 40], "interpolation": "bicubic", "scale": [0.5, 1.0]}],
    [{**CROP, "antialias": False}],
    [{**CROP, "interpolation": "nearest"}],
    [{**CROP, "ratio": [9.0, 9.5]}],  # never fits: the fallback in the centre
    [{"name": "Resize", "size": [30, 31]}, {"name": "RandomVerticalFlip"}, CROP],
]


def decoded(height: int, width: int) -> Tensor:
    """Return noise that lies in memory as a decoder leaves it."""
    pixels = torch.randint(0, 256, (height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return pixels.movedim(-1, 0)


def digests(chain: Any, image: Tensor) -> list[str]:
    """Return a hash for each of 12 seeds, of the pixels and of the number that is drawn next."""
    found = []
    for seed in range(12):
        torch.manual_seed(seed)
        result = chain(image)
        assert result.dtype == torch.uint8
        found.append(
            hashlib.sha256(result.contiguous().numpy().tobytes() + torch.rand(4).numpy().tobytes()).hexdigest()
        )
    return found


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: "-".join(step["name"] for step in recipe))
@pytest.mark.parametrize("size", [(50, 70), (24, 24), (9, 100)])
def test_pixels_and_draws_are_torchvision_s(recipe: list[dict[str, Any]], size: tuple[int, int]) -> None:
    chain = build_chain(recipe, 24, 24)
    theirs = v2.Compose(list(chain.steps))
    for image in (decoded(*size), decoded(*size).contiguous()):
        found = digests(chain, image)
        assert found == digests(theirs, image)
        assert len(set(found)) > 5


def test_what_derives_from_a_crop_or_flip_is_left_alone() -> None:
    class Double(v2.RandomHorizontalFlip):
        def transform(self, image: Tensor, params: dict[str, Any]) -> Tensor:
            return image // 2

    class Zoom(v2.RandomResizedCrop):
        def make_params(self, images: list[Tensor]) -> dict[str, int]:
            return {"top": 0, "left": 0, "height": 2, "width": 2}

    image = decoded(8, 8)
    assert torch.equal(Chain((Double(p=1.0),))(image), image // 2)
    assert torch.equal(Chain((Zoom(2),))(image), image[:, :2, :2])
