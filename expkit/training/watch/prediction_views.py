"""How predictions of each kind of target are drawn: what a tile shows, and what counts as a mistake."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from expkit.core.plots.image_grid import RIGHT, TILE, WRONG, Tile
from expkit.core.plots.masks import Colour, class_colours, tinted
from expkit.tasks.pixel_metrics import UNKNOWN, Psnr
from expkit.training.watch.base import Judged, Scene

Legend = Sequence[tuple[Colour, str]]

_MOST_NUMBERS = 4  # of a sample, below its image
_PART = 128  # pixels, height of images side by side
_GAP = 2  # white columns between them


@dataclass(frozen=True)
class Seen:
    """A validation image, (3, H, W) normalised, and what the model says of it: drawn only if it is shown.

    error: 0 where the model is right.
    """

    image: Tensor
    target: Tensor
    output: Tensor
    index: int
    error: float


class View(ABC):
    """How predictions of one kind of target are drawn. caption: of the samples, worst: which mistakes are shown."""

    columns: ClassVar[int] = 6
    side: ClassVar[int] = TILE
    width: ClassVar[int | None] = None  # of a tile, None for a square
    caption: ClassVar[str]
    worst: ClassVar[str]

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    @abstractmethod
    def errors(self, judged: Judged) -> Tensor:
        """Return (N,) how wrong the model is, 0 where it is right."""

    @abstractmethod
    def tile(self, seen: Seen) -> Tile:
        """Draw a sample."""

    def kept(self, output: Tensor) -> Tensor:
        """Return what a tile needs of a sample's output."""
        return output

    def title(self, seen: Sequence[Seen], when: str) -> str:
        return f"{len(seen)} validation images {when}, always the same ones: {self.caption}"

    @property
    def legend(self) -> Legend:
        return []


class ClassView(View):
    """The most probable class, or the classes of a multilabel sample, framed by whether it is right."""

    caption, worst = "green right, red wrong", "the wrong answers with the largest loss"

    def errors(self, judged: Judged) -> Tensor:
        return judged.losses.where(~_is_right(judged), 0)

    def title(self, seen: Sequence[Seen], when: str) -> str:
        right = sum(one.error == 0 for one in seen)
        return f"{right} of {len(seen)} validation images right {when}, always the same ones"

    def tile(self, seen: Seen) -> Tile:
        scene, is_right = self.scene, seen.error == 0
        colour, image, name = RIGHT if is_right else WRONG, scene.pixels(seen.image), scene.name_of(seen.index)
        if scene.task == "multilabel":
            said = scene.label((seen.output > 0.5).float())
            return Tile(image, said, f"true: {scene.label(seen.target)}", colour)
        share, best = seen.output.max(0)
        said = f"{scene.class_names[int(best)]} {share:.0%}"
        if is_right:
            return Tile(image, f"{said}, right", name, colour)
        return Tile(image, f"{said}, wrong", f"is {scene.label(seen.target)}: {name}", colour)


class NumberView(View):
    """The true and the predicted numbers below the image, in their own units."""

    caption, worst = "true / predicted numbers", "the largest errors"

    def errors(self, judged: Judged) -> Tensor:
        return (judged.probabilities - judged.targets).square().mean(1).sqrt()

    def tile(self, seen: Seen) -> Tile:
        true, said = (self.scene.unscaled(values).tolist() for values in (seen.target, seen.output))
        lines = [f"{name} {a:.4g} / {b:.4g}" for name, a, b in zip(self.scene.class_names, true, said, strict=True)]
        shown = lines[:_MOST_NUMBERS] + [f"and {len(lines) - _MOST_NUMBERS:,} more"] * (len(lines) > _MOST_NUMBERS)
        name = self.scene.name_of(seen.index)
        return Tile(self.scene.pixels(seen.image), shown[0], name if len(shown) == 1 else shown[1], more=shown[2:])


class MaskView(View):
    """The image, the true and the predicted mask over it, with their intersection over union."""

    columns, side, width = 3, _PART, 3 * (_PART + _GAP)
    caption, worst = "image, true mask, predicted mask", "the lowest intersection over union (IoU)"

    def errors(self, judged: Judged) -> Tensor:
        return 1 - image_iou(judged.probabilities.argmax(1), judged.targets, judged.probabilities.shape[1])

    def kept(self, output: Tensor) -> Tensor:
        return output.argmax(0)

    def tile(self, seen: Seen) -> Tile:
        image, colours = self.scene.pixels(seen.image), class_colours(self.scene.class_names)
        parts = [image, tinted(image, seen.target, colours), tinted(image, seen.output, colours)]
        return Tile(side_by_side(parts), f"IoU {1 - seen.error:.3f}", self.scene.name_of(seen.index))

    @property
    def legend(self) -> Legend:
        return mask_legend(self.scene)


class PixelView(View):
    """The image beside its reconstruction."""

    columns, side, width = 4, _PART, 2 * (_PART + _GAP)
    caption, worst = "image, reconstruction", "the lowest peak signal-to-noise ratio (PSNR)"

    def errors(self, judged: Judged) -> Tensor:
        return (judged.probabilities - judged.targets).square().flatten(1).mean(1)

    def tile(self, seen: Seen) -> Tile:
        psnr = float(Psnr().each(seen.output[None], seen.target[None]))
        drawn = (seen.output * 255).round().clamp(0, 255).to(torch.uint8)
        name = self.scene.name_of(seen.index)
        return Tile(side_by_side([self.scene.pixels(seen.image), drawn]), f"PSNR {psnr:.1f} dB", name)


VIEWS: dict[str, type[View]] = {
    "single_label": ClassView, "multilabel": ClassView, "regression": NumberView, "segmentation": MaskView,
    "reconstruction": PixelView,
}  # fmt: skip


def mask_legend(scene: Scene) -> Legend:
    """Return the classes that have a colour in masks."""
    named = zip(class_colours(scene.class_names), scene.class_names, strict=True)
    return [(colour, name) for colour, name in named if colour]


def beside_mask(pixels: Tensor, mask: Tensor, scene: Scene) -> Tensor:
    """Return an image, (3, H, W) uint8, with the mask over it at its right."""
    return side_by_side([pixels, tinted(pixels, mask, class_colours(scene.class_names))])


def image_iou(predicted: Tensor, targets: Tensor, num_classes: int) -> Tensor:
    """Return (N,) intersection / union of each image: the mean over the classes that it or its prediction has.

    1 where no pixel's class is known. predicted, targets: (N, H, W).
    """
    known, images = targets != UNKNOWN, torch.arange(len(targets), device=targets.device).view(-1, 1, 1)
    pairs = ((images * num_classes + targets) * num_classes + predicted)[known]
    shape = len(targets), num_classes, num_classes
    counts = pairs.bincount(minlength=len(targets) * num_classes**2).view(shape).float()
    common = counts.diagonal(dim1=1, dim2=2)
    union = counts.sum(1) + counts.sum(2) - common
    return ((common / union.clamp_min(1)).sum(1) / (union > 0).sum(1)).nan_to_num(1.0)


def side_by_side(images: Sequence[Tensor]) -> Tensor:
    """Return (3, H, W) images of one height in a row, with white between them."""
    gap = images[0].new_full((3, images[0].shape[1], _GAP), 255)
    return torch.cat([part for image in images for part in (gap, image)][1:], dim=2)


def _is_right(judged: Judged) -> Tensor:
    if judged.targets.ndim == 1:
        return judged.probabilities.argmax(1) == judged.targets
    return ((judged.probabilities > 0.5) == (judged.targets > 0.5)).all(1)
