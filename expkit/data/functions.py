"""A plain function of an image as a transform: `rotate_any(image)`, on a tensor or on a PIL image."""

import inspect
import typing
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor


class ImageFunction:
    """Calls a function with an image, in the form that its annotation asks for: a (3, H, W) uint8 tensor without one.

    What it returns as a PIL image or a (H, W, 3) array becomes a tensor again.
    """

    def __init__(self, function: partial[Any]) -> None:
        self.function = function
        annotation = _first_annotation(function.func)
        self.wants_pil = annotation is Image.Image or str(annotation).endswith("Image.Image")
        self.wants_array = getattr(annotation, "__name__", str(annotation)).endswith("ndarray")

    def __call__(self, image: Tensor) -> Tensor:
        given: Any = image
        if self.wants_pil or self.wants_array:
            given = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
        made = self.function(Image.fromarray(given) if self.wants_pil else given)
        if isinstance(made, Image.Image):
            made = np.array(made.convert("RGB"))
        if isinstance(made, np.ndarray) and made.ndim == 3 and made.dtype == np.uint8:
            return torch.from_numpy(np.ascontiguousarray(made.transpose(2, 0, 1)))
        return made  # type: ignore[no-any-return]  # what is no such tensor is refused with the first image


def as_transform(step: Any) -> Any:
    """Return a registered plain function as a transform, and any other as it is."""
    return ImageFunction(step) if isinstance(step, partial) else step


def _first_annotation(function: Any) -> Any:
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError):  # what only a type checker can resolve
        hints = {}
    first = next(iter(inspect.signature(function).parameters.values()))
    return hints.get(first.name, first.annotation)
