"""Masks of images: brought to the size of the image, coloured, and laid over it."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import v2

from expkit.data.transforms import Chain

_KEEP_PLACES = (v2.Resize, v2.Grayscale, v2.Identity)  # what is seen is the whole image
_OPACITY = 0.5  # of a mask over its image
_BACKGROUND = ("background", "unlabeled", "unlabelled", "void", "none")  # left clear


def crop_of(chain: Chain) -> str:
    """Return the name of the first transform that a mask cannot be brought back through, "" for none."""
    return next((type(step).__name__ for step in chain.steps if not isinstance(step, _KEEP_PLACES)), "")


def mask_of(outputs: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the (H, W) uint8 classes of an image's pixels. outputs: (C, h, w); size: H and W.

    The outputs of each class are interpolated before the greatest is taken, so that edges are smooth; one class at a
    time, since those of a large image do not all fit into memory.
    """
    if tuple(outputs.shape[-2:]) == size:
        return outputs.argmax(0).byte().cpu()
    best = torch.full(size, -torch.inf, device=outputs.device)
    mask = torch.zeros(size, dtype=torch.uint8, device=outputs.device)
    for number, one in enumerate(outputs):
        larger = functional.interpolate(one[None, None].float(), size=size, mode="bilinear")[0, 0]
        better = larger > best
        best, mask = torch.where(better, larger, best), mask.masked_fill(better, number)
    return mask.cpu()


def palette_of(names: Sequence[str]) -> NDArray[np.uint8]:
    """Return (256, 3) colours of the classes, those of PASCAL VOC: distinct for up to 255 classes. Black is background.

    The bits of a class's number are dealt out in turn to red, green and blue, the highest bits of a colour first.
    """
    first = 0 if names[0].lower() in _BACKGROUND else 1
    numbers = (np.arange(256) + first) % 256
    colours = np.zeros((256, 3), dtype=np.uint8)
    for place in range(8):
        for colour in range(3):
            colours[:, colour] |= ((numbers >> (3 * place + colour) & 1) << (7 - place)).astype(np.uint8)
    return colours


def mask_picture(mask: Tensor, names: Sequence[str]) -> Image.Image:
    """Return a mask as a picture whose pixels are the classes' numbers, shown by a palette. mask: (H, W) uint8."""
    picture = Image.fromarray(mask.numpy())
    picture.putpalette(palette_of(names).tobytes())
    return picture


def overlay(image: Tensor, mask: Tensor, names: Sequence[str]) -> Tensor:
    """Return an image under its coloured mask; the background is left clear. image: (3, H, W) uint8; mask: (H, W)."""
    colours = torch.from_numpy(palette_of(names))[mask.long()].permute(2, 0, 1)
    clear = [number for number, name in enumerate(names) if name.lower() in _BACKGROUND]
    mixed = (image * (1 - _OPACITY) + colours * _OPACITY).round().byte()
    return torch.where(torch.isin(mask, torch.tensor(clear, dtype=torch.uint8)), image, mixed)


def shares_of(mask: Tensor, names: Sequence[str]) -> dict[str, float]:
    """Return the share of the pixels that each class has."""
    counts = mask.flatten().long().bincount(minlength=len(names))[: len(names)]
    return dict(zip(names, (counts / mask.numel()).tolist(), strict=True))
