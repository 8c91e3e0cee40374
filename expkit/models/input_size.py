"""Whether a model takes images of a size, found out before training and without computing anything."""

import copy
import warnings

import torch
from torch import Tensor, nn

from expkit.registry import ConfigError

_USUAL_SIZES = (28, 32, 48, 64, 96, 112, 128, 160, 192, 224, 240, 256, 288, 299, 320, 384, 480, 512, 518)


def check_input(model: nn.Module, name: str, height: int, width: int, num_classes: int) -> None:
    """Raise ConfigError when (2, 3, height, width) images do not give (2, num_classes) logits; names a size that fits.

    Works on a copy on the meta device, where tensors have shapes and no values: the model stays untouched.
    """
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shadow = copy.deepcopy(model).to("meta")
        problem = _problem(shadow, height, width, num_classes)
        if problem is None:
            return
        sizes = [size for size in _USUAL_SIZES if _problem(shadow, size, size, num_classes) is None]
    if not sizes:
        raise ConfigError(f"model: {name} cannot be used on images: {problem}")
    size = next((size for size in sizes if size >= min(height, width)), sizes[-1])
    given = f"{width}×{height}"
    raise ConfigError(f"transforms.image_size: {name} cannot take images of {given} pixels ({problem}); {size} fits")


def _problem(model: nn.Module, height: int, width: int, num_classes: int) -> str | None:
    images = torch.zeros(2, 3, height, width, device="meta")
    for training in (True, False):  # auxiliary heads see the images in training only
        model.train(training)
        try:
            with torch.no_grad():
                outputs = model(images)
        except (RuntimeError, ValueError, AssertionError, IndexError, NotImplementedError) as error:
            return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        logits = outputs if isinstance(outputs, Tensor) else outputs[0]
        if logits.shape != (2, num_classes):
            return f"gives outputs of shape {tuple(logits.shape)} for 2 images and {num_classes} classes"
    return None
