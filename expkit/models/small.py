"""Small networks for small images, quick to train on a CPU."""

from itertools import pairwise

from torch import Tensor, nn

from expkit.config.registry import models
from expkit.core.errors import ConfigError


@models.register("small_resnet")
def small_resnet(
    num_classes: int, width: int = 16, blocks: int = 1, stem_stride: int = 2, dropout: float = 0.0
) -> nn.Module:
    """A narrow residual network with batch normalisation, for images of 28 to 64 pixels."""
    if not (1 <= blocks <= 1000 and 1 <= stem_stride <= 1000):
        got = f"got {blocks} and {stem_stride}"
        raise ConfigError(f"model.blocks: expected 1 to 1,000 blocks and a stem_stride of 1 to 1,000, {got}")
    _check(width, dropout)
    return nn.Sequential(
        nn.Conv2d(3, width, 3, stride=stem_stride, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        *_stage(width, width, blocks),
        *_stage(width, 2 * width, blocks),
        *_stage(2 * width, 4 * width, blocks),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(4 * width, num_classes),
    )


def _check(width: int, dropout: float) -> None:
    """Raise ConfigError for numbers that make no layer."""
    if width < 1:
        raise ConfigError(f"model.width: expected an integer from 1 up, got {width}")
    if not 0 <= dropout < 1:
        raise ConfigError(f"model.dropout: expected a number from 0 to less than 1, got {dropout}")


def _stage(channels_in: int, channels_out: int, blocks: int) -> list[nn.Module]:
    """Return residual blocks; the first halves the image."""
    more = [ResidualBlock(channels_out, channels_out, stride=1) for _ in range(blocks - 1)]
    return [ResidualBlock(channels_in, channels_out, stride=2), *more]


@models.register("small_cnn")
def small_cnn(num_classes: int, width: int = 16, dropout: float = 0.0) -> nn.Module:
    """Two convolutions with batch normalisation, for images of about 28 pixels."""
    _check(width, dropout)
    layers: list[nn.Module] = []
    for channels_in, channels_out in ((3, width), (width, 2 * width)):
        layers += [nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False), nn.BatchNorm2d(channels_out)]
        layers += [nn.ReLU(inplace=True), nn.MaxPool2d(2)]
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Dropout(dropout), nn.Linear(32 * width, num_classes)
    )


@models.register("mlp")
def mlp(num_classes: int, grid: int = 16, hidden: tuple[int, ...] = (256,), dropout: float = 0.0) -> nn.Module:
    """A perceptron on the image averaged to grid x grid cells; with no hidden layer it is logistic regression."""
    if not 1 <= grid <= 1000 or min(hidden, default=1) < 1 or len(hidden) > 1000:
        got = f"got {grid} and {list(hidden)}"
        raise ConfigError(f"model.grid: expected 1 or more cells and 1 or more units per layer of hidden, {got}")
    _check(1, dropout)
    sizes = [3 * grid * grid, *hidden]
    layers: list[nn.Module] = []
    for size_in, size_out in pairwise(sizes):
        layers += [nn.Linear(size_in, size_out), nn.ReLU(inplace=True), nn.Dropout(dropout)]
    return nn.Sequential(nn.AdaptiveAvgPool2d(grid), nn.Flatten(), *layers, nn.Linear(sizes[-1], num_classes))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut (He et al. 2016). (N, in, H, W) -> (N, out, H/stride, W/stride)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
        )
        self.shortcut = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 1, stride=stride, bias=False), nn.BatchNorm2d(channels_out)
        )

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.relu(self.body(images) + self.shortcut(images))
