"""A plain function of an image is a transform."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from expkit.config.registry import transforms
from expkit.config.signature import subject_of
from expkit.core.errors import ConfigError
from expkit.data.functions import as_transform
from expkit.data.transforms import build_chain
from tests.forks import Forks

FUNCTIONS = """
import random
import numpy as np
import PIL.Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F
from expkit.config.registry import transforms

@transforms.register("rotate_any")
def rotate_any(image):
    '''Turn an image by any angle.'''
    return F.rotate(image, random.uniform(-180, 180))

@transforms.register("rotate_pil")
def rotate_pil(image: PIL.Image.Image, most: float = 30.0):
    return image.rotate(random.uniform(-most, most))

@transforms.register("turn_array")
def turn_array(picture: "np.ndarray", times: int = 1):
    return np.rot90(picture, times)

@transforms.register("darker")
def darker(x: Tensor, share: float):
    return (x * share).to(x.dtype)

@transforms.register("no_tensor")
def no_tensor(image):
    return image.rotate(30)
"""
SMALL = [
    "dataset=fake", "dataset.images=20", "dataset.image_size=16", "dataset.num_classes=2", "model.width=4",
    "transforms.image_size=16", "logger=none", "watch=none", "epochs=1", "--plugin", "mine.py",
]  # fmt: skip


def test_functions_train_and_their_options_are_checked(commands: Forks, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FUNCTIONS)
    every = "{name: rotate_any},{name: rotate_pil, most: 90},{name: turn_array},{name: darker, share: 0.5}"
    code, output = commands.told(tmp_path, *SMALL, f"transforms.train=[{every}]", "dataset.num_workers=2")
    assert code == 0, output
    for words, told in {
        "{name: darker}": "transforms.train[0].share: darker needs it (number)",
        "{name: rotate_pil, most: far}": "transforms.train[0].most: expected a number, got 'far'",
        "{name: rotate_any, image: 3}": "transforms.train[0].image: rotate_any has no option 'image'",
        "{name: no_tensor}": "a function that needs a PIL image says so: def NAME(image: PIL.Image.Image)",
    }.items():
        code, output = commands.told(tmp_path, *SMALL, f"transforms.train=[{words}]")
        assert code == 2, output
        assert told in output
    code, output = commands.told(tmp_path, "--plugin", "mine.py", "--list", "transforms", "rotate_pil")
    assert code == 0
    assert "most" in output
    assert "image" not in output.split("option")[1]


def test_what_a_function_returns_is_a_tensor_again() -> None:
    image = torch.arange(3 * 4 * 6, dtype=torch.uint8).reshape(3, 4, 6)

    def of_pil(image: Image.Image) -> Image.Image:
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)

    def of_array(image: "np.ndarray") -> "np.ndarray":  # type: ignore[type-arg]
        return image[:, ::-1]

    def of_tensor(image: Tensor) -> Tensor:
        return image.flip(-1)

    for function in (of_pil, of_array, of_tensor):
        assert torch.equal(as_transform(partial(function))(image), image.flip(-1)), function


def test_a_factory_stays_a_factory() -> None:
    names = {"image", "img"}

    def of_image(image, angle: float = 3.0): ...  # type: ignore[no-untyped-def]

    def of_typed(whatever: Tensor): ...  # type: ignore[no-untyped-def]

    def factory(size: int = 3): ...  # type: ignore[no-untyped-def]

    def untyped(size): ...  # type: ignore[no-untyped-def]

    def optional(image: bool = True): ...  # type: ignore[no-untyped-def]

    def other(image: str): ...  # type: ignore[no-untyped-def]

    assert [subject_of(one, names) for one in (of_image, of_typed)] == ["image", "whatever"]
    assert [subject_of(one, names) for one in (factory, untyped, optional, other, dict)] == [""] * 5
    assert subject_of(of_image, ()) == ""


NUMBER_OR_LIST = [
    ("RandomRotation", "degrees", 180, [0, 180], {}), ("RandomRotation", "degrees", 7.5, [-7.5, 7.5], {}),
    ("RandomAffine", "degrees", 30, [-30.0, 30.0], {}), ("RandomAffine", "shear", 5, [0, 5], {"degrees": 0}),
    ("ColorJitter", "brightness", 1, [0.5, 1], {}), ("ColorJitter", "contrast", 0.5, [0.5, 1.5], {}),
    ("ColorJitter", "saturation", 1, [1, 1.5], {}), ("ColorJitter", "hue", 0.1, [-0.1, 0.1], {}),
    ("GaussianBlur", "sigma", 1, [0.1, 2], {"kernel_size": 3}), ("GaussianBlur", "kernel_size", 3, [3, 5], {}),
    ("ElasticTransform", "alpha", 20, [20, 30.0], {}), ("ElasticTransform", "sigma", 2, [2, 3.0], {}),
    ("Pad", "padding", 2, [1, 2, 1, 2], {}), ("Pad", "fill", 2, [1, 2, 3], {"padding": 1}),
    ("RandomCrop", "size", 8, [8, 6], {}), ("RandomCrop", "padding", 2, [1, 2], {"size": 8}),
    ("CenterCrop", "size", 8, [8, 6], {}), ("Resize", "size", 8, [8, 6], {}), 
    ("RandomResizedCrop", "size", 8, [8, 6], {}), ("RandomRotation", "fill", 1.5, [1, 2, 3], {"degrees": 3}),
    ("RandomErasing", "value", 3, [1, 2, 3], {"p": 1.0}), ("RandomZoomOut", "fill", 3, [1, 2, 3], {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "option", "number", "several", "others"), NUMBER_OR_LIST)
def test_a_number_stands_where_torchvision_takes_one(
    name: str, option: str, number: float, several: list[float], others: dict[str, float]
) -> None:
    image = torch.zeros(3, 96, 64, dtype=torch.uint8)
    for value in (number, several):
        made = build_chain([{"name": name, option: value, **others}], 16, 16)(image)
        assert made.dtype == torch.uint8
    for wrong in ("far", True):
        assert transforms.faults({"name": name, option: wrong, **others})
    with pytest.raises(ConfigError, match=option):
        build_chain([{"name": name, option: "far", **others}], 16, 16)
