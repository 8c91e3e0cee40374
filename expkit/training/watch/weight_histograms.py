"""Weights and gradients: their spread, the gradients' norm, and the first layer's kernels as a picture."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from expkit.config.registry import watchers
from expkit.core.errors import ConfigError
from expkit.core.plots.image_grid import Tile, draw_grid
from expkit.loggers.base import Point
from expkit.loggers.figures import Histogram, Picture
from expkit.training.non_finite import whole_norm
from expkit.training.watch.base import Shown, Watcher, Where, array

BINS = 50


def histogram(name: str, where: Where, values: Tensor) -> Histogram:
    """Return the spread of a tensor's finite values, from the least to the greatest."""
    values = values.detach().float().flatten()
    values = values[values.isfinite()]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)
    if low == high:
        low, high = low - 0.5, high + 0.5
    counts = torch.histc(values, BINS, low, high)
    return Histogram(name, where.epoch, where.step, np.linspace(low, high, BINS + 1), array(counts))


class _OfLayers(Watcher):
    """Goes through the weight of each layer; of a deep model evenly over its depth."""

    needs_weights = True

    def __init__(self, most: int) -> None:
        self.most = most

    def layers(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield up to `most` (name, weight) of convolutions and products; scales and biases are left out."""
        named = [(name, weight) for name, weight in self.scene.model.named_parameters() if weight.ndim > 1]
        for place in np.unique(np.linspace(0, len(named) - 1, min(self.most, len(named))).round().astype(int)):
            yield named[place]


class Weights(_OfLayers):
    """Histograms of the weights, after an evaluation."""

    def evaluated(self, where: Where) -> Shown:
        return [histogram(f"weights/{name}", where, weight) for name, weight in self.layers()]


class Gradients(_OfLayers):
    """Histograms of the gradients, before clipping."""

    moment = "update"

    def update(self, where: Where) -> Shown:
        layers = [(name, weight.grad) for name, weight in self.layers() if weight.grad is not None]
        return [histogram(f"gradients/{name}", where, gradient) for name, gradient in layers]


class GradientNorm(Watcher):
    """The norm over all gradients, before clipping, as a point."""

    moment = "update"
    asks_all_ranks = True

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def update(self, where: Where) -> Shown:
        gradients = [weight.grad for weight in self.scene.model.parameters() if weight.grad is not None]
        norm = float(whole_norm(gradients))
        return [Point("step", where.epoch, where.step, {"gradient_norm": norm})]


class Kernels(Watcher):
    """The kernels of the first convolution, in colour where it sees three channels."""

    needs_weights = True

    def __init__(self, most: int) -> None:
        self.most = most

    def evaluated(self, where: Where) -> Shown:
        convolutions = ((n, m) for n, m in self.scene.model.named_modules() if isinstance(m, nn.Conv2d))
        name, first = next(convolutions, ("", None))
        if first is None:
            return ()
        weight = first.weight.detach().float().cpu()
        tiles = [Tile(_pixels(kernel), f"{number}") for number, kernel in enumerate(weight[: self.most])]
        size = " x ".join(map(str, weight.shape[2:]))
        title = f"{len(tiles)} of {len(weight)} kernels ({size}) of layer '{name}', each scaled to its own range"
        drawn = np.asarray(draw_grid(tiles, 12, title, side=64))
        caption = f"layer '{name}', the first convolution; of other than three channels the mean"
        return [Picture("model/first_kernels", where.epoch, where.step, drawn, caption)]


def _pixels(kernel: Tensor) -> Tensor:
    """Return a kernel (I, H, W) as (3, H, W) uint8, zero at mid-grey; other than 3 channels: their mean."""
    colours = kernel if kernel.shape[0] == 3 else kernel.mean(0, keepdim=True).expand(3, -1, -1)
    return (colours / colours.abs().max().clamp(min=1e-12) * 127 + 128).round().to(torch.uint8)


def _from_one(path: str, value: int) -> int:
    if value < 1:
        raise ConfigError(f"watch.{path}: expected an integer from 1 up, got {value}")
    return value


@watchers.register("weights")
def weights(most: int = 40) -> Weights:
    """Histograms of the layers' weights.

    most: layers, spread evenly over the model where it has more.
    """
    return Weights(_from_one("weights.most", most))


@watchers.register("gradients")
def gradients(most: int = 40) -> Gradients:
    """Histograms of the layers' gradients, at the last step of an epoch.

    most: layers, spread evenly over the model where it has more.
    """
    return Gradients(_from_one("gradients.most", most))


@watchers.register("gradient_norm")
def gradient_norm(steps: int = 20) -> GradientNorm:
    """The norm over all gradients, every so many steps.

    steps: from one point to the next.
    """
    return GradientNorm(_from_one("gradient_norm.steps", steps))


@watchers.register("first_kernels")
def first_kernels(most: int = 96) -> Kernels:
    """The first convolution's kernels as a picture.

    most: kernels, the first ones.
    """
    return Kernels(_from_one("first_kernels.most", most))
