"""A chain of transforms is tried on an image before it is used, and on a mask that moves with it."""

import torch
from torch import Tensor

from expkit.core.errors import ConfigError
from expkit.data.decode import BadImage
from expkit.data.growth import Unfit
from expkit.data.transforms import Chain


def try_chain(chain: Chain, image: Tensor, path: str) -> tuple[int, int]:
    """Apply a chain to one image and return the (height, width) of the model's input.

    Raises ConfigError if it fails or returns anything but (3, h, w) uint8.
    """
    try:
        result = chain(image)
    except (TypeError, ValueError, RuntimeError, AttributeError, Unfit) as error:
        size = f"{image.shape[-1]}×{image.shape[-2]}"
        message = f"{path}: cannot be applied to the first image ({size} pixels): {error}"
        if isinstance(error, AttributeError):
            message += "; a function that needs a PIL image says so: def NAME(image: PIL.Image.Image)"
        raise ConfigError(message) from error
    if not isinstance(result, Tensor) or result.dtype != torch.uint8 or result.ndim != 3 or len(result) != 3:
        given = f"{tuple(result.shape)} {result.dtype}" if isinstance(result, Tensor) else type(result).__name__
        raise ConfigError(f"{path}: must give (3, height, width) uint8, gives {given}; normalisation comes by itself")
    return result.shape[-2], result.shape[-1]


def try_chain_with_target(chain: Chain, image: Tensor, mask: Tensor, path: str) -> None:
    """Apply a chain to an image and to a mask that moves with it. Raises ConfigError if it cannot move both."""
    try:
        image, mask = chain.apply_with_target(image, mask, lambda: "the first image")
    except (TypeError, ValueError, RuntimeError, AttributeError, BadImage) as error:
        message = f"{path}: cannot be applied to an image and its mask together: {error}"
        raise ConfigError(f"{message}; use transforms of torchvision") from error
    if mask.shape[-2:] != image.shape[-2:]:
        raise ConfigError(f"{path}: gives an image of {tuple(image.shape[-2:])} and a mask of {tuple(mask.shape[-2:])}")
