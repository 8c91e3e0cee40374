"""Check before training, on the meta device, whether a model accepts images of a size."""

import copy
from collections.abc import Callable
from itertools import chain

import torch
from torch import Tensor, nn

from expkit.core.errors import ConfigError, first_line
from expkit.core.formatting import count_noun
from expkit.models.prepare import training_mode

_USUAL_SIZES = (28, 32, 48, 64, 96, 112, 128, 160, 192, 224, 240, 256, 288, 299, 320, 384, 480, 512, 518)


def check_input(model: nn.Module, name: str, height: int, width: int, shape: tuple[int, ...]) -> None:
    """Raise ConfigError if (2, 3, height, width) images do not give (2, *shape) outputs; suggest a size.

    Uses a copy on the meta device, where tensors have shapes but no values. Also tries training mode, since auxiliary
    heads need larger images than the main one.
    """
    with torch.random.fork_rng(devices=[]):
        meta_copy = _meta_copy(model)
        if _problem(meta_copy, height, width, shape) is None:
            return
        # A plugin's model may use operations without meta support: try real tensors.
        problem = _problem(copy.deepcopy(model), height, width, shape)
        if problem is None:
            return
        is_flat = len(shape) == 1  # else the outputs are as large as the images
        advice = _advice(
            lambda size: _problem(meta_copy, size, size, shape if is_flat else (shape[0], size, size)) is None,
            min(height, width),
        )
    if not advice:
        raise ConfigError(f"model: {name} cannot be used on images of {width}×{height} pixels: {problem}")
    advice += _image_size_hint(model, height, width)
    raise ConfigError(
        f"transforms.image_size: {name} cannot take images of {width}×{height} pixels ({problem}); {advice}"
    )


def _meta_copy(model: nn.Module) -> nn.Module:
    """Return a copy on the meta device; unlike deepcopy().to("meta"), it never copies values."""
    tensors: dict[int, Tensor] = {}
    for tensor in chain(model.parameters(), model.buffers()):
        empty = torch.empty_like(tensor, device="meta")
        is_parameter = isinstance(tensor, nn.Parameter)
        tensors[id(tensor)] = nn.Parameter(empty, requires_grad=False) if is_parameter else empty
    return copy.deepcopy(model, tensors)


def _problem(model: nn.Module, height: int, width: int, shape: tuple[int, ...]) -> str | None:
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    images = torch.zeros(2, 3, height, width, device=device)
    for training in (True, False):
        model.train(training)
        try:
            with torch.no_grad():
                outputs = model(images)
        except (RuntimeError, ValueError, AssertionError, IndexError) as error:
            return first_line(error).rstrip(".")
        for logits in outputs if isinstance(outputs, tuple) else (outputs,):
            if not isinstance(logits, Tensor):
                return f"gives a {type(logits).__name__}, not logits"
            if logits.shape != (2, *shape):
                classes = count_noun(shape[0], "class") if len(shape) == 1 else f"not {(2, *shape)}"
                return f"gives outputs of shape {tuple(logits.shape)} for 2 images and {classes}"
    return None


def _advice(fits: Callable[[int], bool], wanted: int) -> str:
    """Return a sentence with a size that fits, preferably the next larger one, or ""."""
    nearest_first = sorted(_USUAL_SIZES, key=lambda size: (size < wanted, abs(size - wanted)))
    size = next((size for size in nearest_first if fits(size)), None)
    if size is None:
        return ""
    or_more = all(fits(larger) for larger in (299, _USUAL_SIZES[-1]) if larger > size)
    return f"{size} {'or more fits, e.g.' if or_more else 'fits:'} transforms.image_size={size}"


def _image_size_hint(model: nn.Module, height: int, width: int) -> str:
    """Return a hint at model.image_size for vision transformers, which are built for one size, or ""."""
    built_for, patch = getattr(model, "image_size", None), getattr(model, "patch_size", None)
    if isinstance(built_for, int) and isinstance(patch, int) and height == width and height % patch == 0:
        return f", or, without pretrained weights, model.image_size={height}"
    return ""


def trains_on_one(model: nn.Module, height: int, width: int) -> bool:
    """Return False if batch normalisation fails when training on a single (3, height, width) image."""
    with torch.random.fork_rng(devices=[]):
        for meta_copy in (_meta_copy(model), copy.deepcopy(model)):
            for copied, weight in zip(meta_copy.parameters(), model.parameters(), strict=True):
                copied.requires_grad_(weight.requires_grad)  # frozen layers use their running statistics
            training_mode(meta_copy)
            device = next((parameter.device for parameter in meta_copy.parameters()), torch.device("cpu"))
            try:
                with torch.no_grad():
                    meta_copy(torch.zeros(1, 3, height, width, device=device))
            except ValueError as error:
                return "more than 1 value per channel" not in str(error)
            except RuntimeError:  # no such operation on the meta device: try real tensors
                continue
            return True
    return True
