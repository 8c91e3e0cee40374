"""Per-sample transforms on uint8 images, built from config lists; normalisation happens later, per batch."""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from expkit.config.checked import Checked, CheckedNode
from expkit.config.registry import mixings, transforms
from expkit.config.signature import Misfit, fit, options_of
from expkit.core.errors import ConfigError
from expkit.data.decode import BadImage
from expkit.data.fast_transforms import with_fast_steps
from expkit.data.functions import as_transform
from expkit.data.growth import MOST_PIXELS, Unfit, limit_growth

Transform = Callable[[Tensor], Tensor]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# Not in the catalogue: transforms that take code or boxes, mix batches, return tuples or return floats
# (conversion to float and normalisation are done per batch on the device).
_LEFT_OUT = {
    "Transform", "Lambda", "Compose", "RandomApply", "RandomChoice", "RandomOrder", "MixUp", "CutMix",
    "ClampBoundingBoxes", "ClampKeyPoints", "ConvertBoundingBoxFormat", "SanitizeBoundingBoxes", "SanitizeKeyPoints",
    "SetClampingMode", "RandomIoUCrop", "FiveCrop", "TenCrop", "UniformTemporalSubsample", "LinearTransformation",
    "ConvertImageDtype", "ToDtype", "ToImage", "ToPILImage", "ToTensor", "ToPureTensor", "PILToTensor", "Normalize",
    "GaussianNoise", "RandomResize", "RandomShortestSize", "ScaleJitter", "RGB", "RandomErasing", "Identity",
}  # fmt: skip

for _name, _class in inspect.getmembers(v2, inspect.isclass):
    if issubclass(_class, v2.Transform) and _name not in _LEFT_OUT:
        transforms.add(_name, _class, "torchvision")


@transforms.register("Identity")
def identity() -> Transform:
    """Leave the image unchanged."""
    return v2.Identity()  # type: ignore[no-any-return]


@transforms.register("RandomApply")
def random_apply(transforms: list[Any], p: float = 0.5) -> Transform:
    """Apply a list of transforms with a given probability.

    transforms: the list, as in transforms.train; p: the probability.
    """
    return v2.RandomApply(_build_all(transforms), p=p)  # type: ignore[no-any-return]


@transforms.register("RandomChoice")
def random_choice(transforms: list[Any], p: list[float] | None = None) -> Transform:
    """Apply one transform of a list, drawn at random.

    transforms: the list, as in transforms.train; p: the probability of each, null: equal.
    """
    return v2.RandomChoice(_build_all(transforms), p=p)  # type: ignore[no-any-return]


@transforms.register("RandomOrder")
def random_order(transforms: list[Any]) -> Transform:
    """Apply a list of transforms in a random order.

    transforms: the list, as in transforms.train.
    """
    return v2.RandomOrder(_build_all(transforms))  # type: ignore[no-any-return]


@transforms.register("RandomErasing")
def random_erasing(
    p: float = 0.5, scale: list[float] | None = None, ratio: list[float] | None = None, value: float | list[float] = 0.0
) -> Transform:
    """Paint over a rectangle with a grey value or colour of 0 to 255 (Zhong et al. 2017, arXiv 1708.04896).

    p: the probability; scale: range of the fraction of the image that is painted over, null: [0.02, 0.33]; ratio: range
    of width / height, null: [0.3, 3.3]; value: a grey value, or one per channel.
    """
    return v2.RandomErasing(p, scale or (0.02, 0.33), ratio or (0.3, 3.3), value)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Normalization:
    """Per-channel mean and standard deviation of images scaled to 0..1; "auto": from the weights, else ImageNet's."""

    mean: list[float] | Literal["auto"] = "auto"
    std: list[float] | Literal["auto"] = "auto"


@dataclass(frozen=True)
class TransformOptions:
    """The `transforms` node: lists of transforms, the sizes that they share, and the normalisation.

    train, eval: applied to each image. batch: MixUp, CutMix; one is drawn for each training batch.

    image_size: side in pixels of the square model input; "auto": from the pretrained weights, else 224; "native": the
    size of the data's first image. resize_size: side to which evaluation resizes before the centre crop; "auto": from
    the pretrained weights, else image_size * 256 / 224.
    """

    train: list[Any]
    eval: list[Any]
    image_size: int | Literal["auto", "native"] = "auto"
    resize_size: int | Literal["auto"] = "auto"
    normalize: dict[str, Any] = field(default_factory=dict)
    batch: list[Any] = field(default_factory=list)


_LONGEST_SIDE = math.isqrt(MOST_PIXELS)


def check(node: object) -> Checked:
    """Check the `transforms` node of a config. Raises ConfigError with all that is wrong with it."""
    if not isinstance(node, Mapping):
        raise ConfigError(f"transforms: takes a mapping with `train`, `eval` and `normalize`, got {node!r}")
    if found := _faults_of_options("transforms", TransformOptions, node):
        raise ConfigError(*found)
    found = _faults_of_options("transforms.normalize", Normalization, node.get("normalize", {}))
    lists = {split: _check_steps(node[split], f"transforms.{split}", found) for split in ("train", "eval")}
    for place, one in enumerate(node.get("batch", [])):
        try:
            lists.setdefault("batch", []).append(mixings.check(one, f"transforms.batch[{place}]"))
        except ConfigError as error:
            found += error.faults
    for size in ("image_size", "resize_size"):
        if isinstance(value := node.get(size), int) and not 1 <= value <= _LONGEST_SIDE:
            found.append(
                f"transforms.{size}: expected an integer of pixels from 1 up to {_LONGEST_SIDE:,}, got {value}"
            )
    if found:
        raise ConfigError(*found)
    return Checked({**node, **lists})


def faults(node: object) -> list[str]:
    """Return what is wrong with the `transforms` node of a config, one sentence each."""
    try:
        check(node)
    except ConfigError as error:
        return list(error.faults)
    return []


def _faults_of_options(path: str, options_class: type, node: Mapping[str, Any]) -> list[str]:
    options = options_of(options_class)
    found = [f"{path}.{key}: no such option; there is {', '.join(options)}" for key in node if key not in options]
    found += [f"{path}.{key}: is needed" for key, option in options.items() if option.required and key not in node]
    for key in options.keys() & node.keys():
        try:
            fit(options[key].annotation, node[key])
        except Misfit as misfit:
            found.append(f"{path}.{key}: {misfit}, got {node[key]!r}")
    return found


def resolved(node: Mapping[str, Any], sizes: tuple[int, int], normalize: "Normalize") -> dict[str, Any]:
    """Return a checked node with the resolved (image_size, resize_size), mean and std."""
    values = {"mean": list(normalize.mean), "std": list(normalize.std)}
    return {**node, "image_size": sizes[0], "resize_size": sizes[1], "normalize": values}


def _check_steps(nodes: list[Any], path: str, faults: list[str]) -> list[Any]:
    """Check a list of transforms, and those within RandomApply and the like; what is wrong is added to faults."""
    checked: list[Any] = []
    for position, node in enumerate(nodes):
        place = f"{path}[{position}]"
        try:
            tried = transforms.check(_with_sizes(node, 224, 256), place)
            checked.append(CheckedNode(node, tried.arguments, tried.options))
        except ConfigError as error:
            faults += error.faults
        if isinstance(node, Mapping) and isinstance(node.get("transforms"), list):
            _check_steps(node["transforms"], f"{place}.transforms", faults)
    return checked


def _with_sizes(node: Any, image_size: int, resize_size: int) -> Any:
    """Return a node with the strings `image_size` and `resize_size` replaced by pixels, at any depth."""
    if isinstance(node, Mapping):
        return {key: _with_sizes(value, image_size, resize_size) for key, value in node.items()}
    if isinstance(node, list):
        return [_with_sizes(value, image_size, resize_size) for value in node]
    return {"image_size": image_size, "resize_size": resize_size}.get(node, node) if isinstance(node, str) else node


def _sized(node: Any, image_size: int, resize_size: int) -> Any:
    """Return a transform with its sizes in pixels, and as checked as it was."""
    sized = _with_sizes(node, image_size, resize_size)
    if not isinstance(node, CheckedNode):
        return sized
    return transforms.replaced(node, {key: value for key, value in sized.items() if value != node[key]})


# What these make of an image is the same each time, and the same for a batch as for each image of it.
_FIXED = (v2.Resize, v2.CenterCrop, v2.Pad, v2.Grayscale, v2.Identity)


class Chain:
    """A sequence of transforms: (3, H, W) uint8 -> (3, h, w) uint8.

    is_fixed: no step is random, and all accept (N, 3, H, W) too. only_torch: the steps draw only from torch's
    generator, as all of torchvision's do; a user's steps may also draw from `random` and numpy.
    """

    def __init__(self, steps: Sequence[Transform]) -> None:
        self.steps = tuple(steps)
        self._fast_steps = with_fast_steps(self.steps)
        self.is_fixed = all(isinstance(step, _FIXED) for step in self.steps)
        self.only_torch = all(_is_torchvision(step) for step in self.steps)

    def __call__(self, image: Tensor) -> Tensor:
        for step in self._fast_steps:
            image = step(image)
        return image

    def apply_to_sample(self, image: Tensor, locate: Callable[[], str], done: int = 0) -> Tensor:
        """Apply the steps after the first `done` to a sample's image. Raises BadImage if they cannot be applied.

        The steps were tried on the first image, so an error from torchvision is caused by this image's size. locate:
        returns the sample's location, for the message.
        """
        with self._errors_of_sample(image, locate):
            if not done:
                return self(image)
            for step in self.steps[done:]:
                image = step(image)
            return image

    def apply_with_target(self, image: Tensor, target: Tensor, locate: Callable[[], str]) -> tuple[Tensor, Tensor]:
        """Apply the steps to an image and to the target that moves with it. Raises BadImage.

        target: one of torchvision's tv_tensors, by whose type each step knows what to do with it.
        """
        with self._errors_of_sample(image, locate):
            sample: Any = (tv_tensors.Image(image), target)
            for step in self.steps:
                sample = step(*sample)
            moved, target = sample
            return moved.as_subclass(Tensor), target.as_subclass(Tensor)

    @contextmanager
    def _errors_of_sample(self, image: Tensor, locate: Callable[[], str]) -> Iterator[None]:
        try:
            yield
        except Unfit as error:
            raise BadImage(locate(), str(error)) from error
        except (ValueError, RuntimeError) as error:
            if not self.only_torch or _is_out_of_memory(error):
                raise
            size = f"{image.shape[-1]}×{image.shape[-2]} pixels"
            reason = f"the transforms cannot be applied to its {size}: {type(error).__name__}: {error}"
            raise BadImage(locate(), reason) from error


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "allocate" in str(error)


def _is_torchvision(step: Transform) -> bool:
    """Return True if a step, and each step within it (RandomApply and the like), is from torchvision."""
    return type(step).__module__.startswith("torchvision.") and all(
        map(_is_torchvision, getattr(step, "transforms", ()))
    )


def build_chain(nodes: list[Any], image_size: int, resize_size: int) -> Chain:
    """Build a checked list of transforms; the words `image_size` and `resize_size` become these pixels."""
    steps = _build_all([_sized(node, image_size, resize_size) for node in nodes])
    for step in steps:
        limit_growth(step)
    return Chain(steps)


def _build_all(nodes: list[Any]) -> list[Transform]:
    return [as_transform(transforms.build(node, "transforms")) for node in nodes]


class Normalize(torch.nn.Module):
    """Converts to float and normalises a batch on the device: (x / 255 - mean) / std."""

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        shape = (1, 3, 1, 1)
        self.mean, self.std = mean, std
        self.register_buffer("scale", 1 / (255 * torch.tensor(std).view(shape)), persistent=False)
        self.register_buffer("shift", (torch.tensor(mean) / torch.tensor(std)).view(shape), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, 3, H, W) float32 for (N, 3, H, W) uint8."""
        return images.to(torch.float32).mul_(self.scale).sub_(self.shift)
