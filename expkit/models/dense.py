"""Small networks whose output is an image: a U-Net for masks, and an autoencoder."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from expkit.config.registry import models
from expkit.core.errors import ConfigError


@models.register("unet")
def unet(num_classes: int, width: int = 12, depth: int = 3) -> nn.Module:
    """A small U-Net (Ronneberger et al. 2015, arXiv 1505.04597), for masks of images of any size.

    width: channels of the first level; each of the `depth` levels below it has twice as many, at half the size.
    """
    if not (width >= 1 and 1 <= depth <= 8):
        raise ConfigError(f"model.width: takes 1 or more, and depth 1 to 8; got {width}, {depth}")
    return UNet(num_classes, width, depth)


class UNet(nn.Module):
    """(N, 3, H, W) -> (N, C, H, W) logits."""

    def __init__(self, num_classes: int, width: int, depth: int) -> None:
        super().__init__()
        sizes = [width * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList([_convolutions(3, width)])
        self.down.extend(_convolutions(above, below) for above, below in pairwise(sizes))
        self.up = nn.ModuleList(_convolutions(2 * above + above, above) for above in reversed(sizes[:-1]))
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        kept: list[Tensor] = []
        features = images
        for level, block in enumerate(self.down):
            features = block(functional.max_pool2d(features, 2, ceil_mode=True) if level else features)
            kept.append(features)
        for block, beside in zip(self.up, reversed(kept[:-1]), strict=True):
            larger = functional.interpolate(features, size=beside.shape[-2:], mode="nearest")
            features = block(torch.cat([larger, beside], dim=1))
        logits: Tensor = self.head(features)
        return logits


@models.register("autoencoder")
def autoencoder(num_classes: int, code: int = 128, width: int = 16) -> nn.Module:
    """A convolutional autoencoder for images of 32 to 128 pixels, with `code` numbers in the middle.

    code: lies on a grid of 8, 4, 2 or 1 cells a side, the first whose cells share it evenly. width: channels of the
    first layer.
    """
    if code < 1 or width < 1:
        raise ConfigError(f"model.code: takes 1 or more, and width too; got {code}, {width}")
    return Autoencoder(num_classes, code, width)


class Autoencoder(nn.Module):
    """(N, 3, H, W) -> (N, channels, H, W) from 0 to 1; `encode` gives (N, code).

    The code keeps the image's layout, so that no layer has to learn where things are.
    """

    def __init__(self, channels: int, code: int, width: int) -> None:
        super().__init__()
        self.grid = next(grid for grid in (8, 4, 2, 1) if code % grid**2 == 0)
        cell, sizes = code // self.grid**2, [width, 2 * width, 4 * width]
        self.encoder = nn.Sequential(
            *(_convolution(given, wanted, stride=2) for given, wanted in pairwise([3, *sizes])),
            _convolution(sizes[-1], sizes[-1]), nn.Conv2d(sizes[-1], cell, 1),
            nn.AdaptiveAvgPool2d(self.grid), nn.Flatten(),
        )  # fmt: skip
        self.start = _convolution(cell, sizes[-1])
        larger = [
            nn.Sequential(_convolution(given, given), nn.Upsample(scale_factor=2), _convolution(given, wanted))
            for given, wanted in pairwise(reversed(sizes))
        ]
        self.decoder = nn.Sequential(*larger, _convolution(width, width))
        self.head = nn.Conv2d(width, 4 * channels, 3, padding=1)

    def encode(self, images: Tensor) -> Tensor:
        """Return the (N, code) numbers of (N, 3, H, W) normalised images."""
        code: Tensor = self.encoder(images)
        return code

    def forward(self, images: Tensor) -> Tensor:
        features = self.start(torch.unflatten(self.encode(images), 1, (-1, self.grid, self.grid)))
        features = self.decoder(functional.interpolate(features, size=(8, 8), mode="nearest"))
        features = _pixel_shuffle(self.head(features))
        pixels: Tensor = functional.interpolate(features, size=images.shape[-2:], mode="bilinear").sigmoid()
        return pixels


def _pixel_shuffle(features: Tensor) -> Tensor:
    """Return (N, C, 2 H, 2 W) of (N, 4 C, H, W), as nn.PixelShuffle does, which has no gradient where N is 0."""
    return torch.unflatten(features, 1, (-1, 2, 2)).permute(0, 1, 4, 2, 5, 3).flatten(4, 5).flatten(2, 3)


def _convolutions(channels_in: int, channels_out: int) -> nn.Module:
    return nn.Sequential(_convolution(channels_in, channels_out), _convolution(channels_out, channels_out))


def _convolution(channels_in: int, channels_out: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )
