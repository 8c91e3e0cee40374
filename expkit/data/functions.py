"""Plain functions as transforms: `rotate_any(image)`, on a tensor, an array or a PIL image."""

import inspect
import typing
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor


class ImageFunction:
    """Calls a function with an image of the annotated type; without an annotation, a (3, H, W) uint8 tensor.

    A returned PIL image or (H, W, 3) array is converted to a tensor.
    """

    def __init__(self, function: partial[Any]) -> None:
        self.function = function
        annotation = _first_annotation(function.func)
        self.wants_pil = annotation is Image.Image or str(annotation).endswith("Image.Image")
        self.wants_array = getattr(annotation, "__name__", str(annotation)).endswith("ndarray")

    def __call__(self, image: Tensor) -> Tensor:
        argument: Any = image
        if self.wants_pil or self.wants_array:
            argument = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
        result = self.function(Image.fromarray(argument) if self.wants_pil else argument)
        if isinstance(result, Image.Image):
            result = np.array(result.convert("RGB"))
        if isinstance(result, np.ndarray) and result.ndim == 3 and result.dtype == np.uint8:
            return torch.from_numpy(np.ascontiguousarray(result.transpose(2, 0, 1)))
        return result  # type: ignore[no-any-return]  # try_chain refuses anything else on the first image


def as_transform(step: Any) -> Any:
    """Return a registered plain function as a transform, and anything else unchanged."""
    return ImageFunction(step) if isinstance(step, partial) else step


def _first_annotation(function: Any) -> Any:
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError):  # annotations that only a type checker can resolve
        hints = {}
    first = next(iter(inspect.signature(function).parameters.values()))
    return hints.get(first.name, first.annotation)
