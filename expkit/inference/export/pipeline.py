"""The exported module: the network, with some or all of its pre-processing."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from expkit.core.errors import ConfigError
from expkit.inference import Trained
from expkit.tasks.task import main_output

Preprocess = Literal["none", "normalize", "full"]

_BILINEAR = (v2.InterpolationMode.BILINEAR, "bilinear")  # torchvision keeps either as given


class Pipeline(nn.Module):
    """Images in, the model's outputs out, e.g. logits (N, C).

    preprocess: "none" takes (N, 3, h, w) float32 as Trained.transforms gives it; "normalize" takes (N, 3, h, w) uint8,
    resized and cropped; "full" takes (N, 3, H, W) uint8 of any size from the crop's up.
    """

    def __init__(self, trained: Trained, preprocess: Preprocess) -> None:
        super().__init__()
        steps = [_in_graph(step) for step in trained.chain.steps] if preprocess == "full" else []
        inside = [*steps, _Normalize(trained)] if preprocess != "none" else []
        self.before = nn.Sequential(*inside)
        self.model = trained.model
        self.output_name = trained.task.output_name

    def forward(self, images: Tensor) -> Tensor:
        return main_output(self.model(self.before(images)))


def example(trained: Trained, preprocess: Preprocess) -> Tensor:
    """Return a batch of two black images as input of the exported model, larger than its crop if it has one."""
    node = trained.config["transforms"]
    if preprocess == "full":
        side = 2 * max(node["image_size"], node["resize_size"])
        return torch.zeros(2, 3, side, side + 32, dtype=torch.uint8)
    seen = trained.seen(torch.zeros(3, node["resize_size"], node["resize_size"], dtype=torch.uint8))
    batch = torch.stack([seen, seen])
    return trained.normalize(batch) if preprocess == "none" else batch


class _Normalize(nn.Module):
    scale: Tensor
    shift: Tensor

    def __init__(self, trained: Trained) -> None:
        super().__init__()
        self.register_buffer("scale", trained.normalize.scale.clone())
        self.register_buffer("shift", trained.normalize.shift.clone())

    def forward(self, images: Tensor) -> Tensor:
        return images.to(torch.float32) * self.scale - self.shift


def _in_graph(step: Any) -> nn.Module:
    """Return a transform as operations of an exported graph. Raises ConfigError if it has none."""
    if type(step) is v2.Resize and step.interpolation in _BILINEAR and step.max_size is None:
        return _Resize(list(step.size))
    if type(step) is v2.CenterCrop:
        return _CenterCrop(step.size[0], step.size[1])
    if type(step) is v2.Identity:
        return nn.Identity()
    raise ConfigError(
        f"--preprocess: {type(step).__name__} cannot be exported, only Resize (bilinear) and CenterCrop can;"
        " use --preprocess normalize"
    )


class _Resize(nn.Module):
    """torchvision's Resize on uint8: bilinear with antialiasing, rounded; a single number is the shorter side."""

    def __init__(self, size: list[int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        if len(self.size) == 2:
            new: Any = (self.size[0], self.size[1])
        else:
            shorter = torch.sym_min(height, width)
            new = (self.size[0] * height // shorter, self.size[0] * width // shorter)
        resized = nn.functional.interpolate(images.to(torch.float32), size=new, mode="bilinear", antialias=True)
        return resized.round().clamp(0, 255)


class _CenterCrop(nn.Module):
    """torchvision's CenterCrop for images that are large enough; half a pixel is rounded to even."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, images: Tensor) -> Tensor:
        top, left = _half(images.shape[-2] - self.height), _half(images.shape[-1] - self.width)
        return images.narrow(2, top, self.height).narrow(3, left, self.width)


def _half(number: int) -> int:
    return (number + number // 2 % 2) // 2
