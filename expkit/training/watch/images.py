"""Images one wants to see: what the model gets, what it makes of some samples, and where it is worst."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from expkit.config.registry import watchers
from expkit.core.errors import ConfigError
from expkit.core.plots.image_grid import RIGHT, WRONG, Tile, draw_grid
from expkit.loggers.figures import Picture
from expkit.training.watch.base import OF_CLASSES, Judged, Shown, Spread, Watcher, Where

_COLUMNS = 6


def _picture(name: str, where: Where, tiles: Sequence[Tile], title: str, caption: str) -> Picture:
    drawn = draw_grid(tiles, min(_COLUMNS, max(len(tiles), 3)), title)
    return Picture(name, where.epoch, where.step, np.asarray(drawn), caption)


class Inputs(Watcher):
    """The first training images of an epoch after transforms and mixing, with their labels."""

    moment = "inputs"

    def __init__(self, count: int) -> None:
        self.count = count

    def inputs(self, where: Where, images: Tensor, targets: Tensor) -> Shown:
        pairs = zip(images[: self.count], targets[: self.count].cpu(), strict=True)
        tiles = [Tile(self.scene.pixels(image), self.scene.label(target)) for image, target in pairs]
        size = f"{images.shape[-1]} x {images.shape[-2]}"
        title = f"what the model gets in epoch {where.epoch + 1}: {size}, after the transforms, shown de-normalised"
        caption = f"training images after the transforms, with their labels, epoch {where.epoch + 1}"
        return [_picture("train/inputs", where, tiles, title, caption)]


@dataclass(frozen=True)
class _Seen:
    """A validation image, (3, H, W) normalised, and what the model says of it: drawn only if it is shown."""

    image: Tensor
    target: Tensor
    probabilities: Tensor
    index: int
    is_right: bool


class Predictions(Watcher):
    """The same few validation samples each time, marked right or wrong; and the wrong ones with the largest loss."""

    kinds = OF_CLASSES

    def __init__(self, count: int, worst: int) -> None:
        self.count, self.worst = count, worst
        self.before_evaluation()

    def before_evaluation(self) -> None:
        self._fixed = Spread[_Seen](self.count)
        self._worst: list[tuple[float, _Seen]] = []
        self._threshold = 0.0

    def judge(self, judged: Judged) -> None:
        right = _is_right(judged)

        def seen(place: int) -> _Seen:
            image = judged.images[place].clone()  # not a view, which would keep the whole batch
            target, probabilities = judged.targets[place].cpu(), judged.probabilities[place].cpu()
            return _Seen(image, target, probabilities, int(judged.indices[place]), bool(right[place]))

        losses = torch.where(right, torch.zeros_like(judged.losses), judged.losses).cpu()
        for place in losses.topk(min(self.worst, len(losses))).indices.tolist():
            if losses[place] > self._threshold:
                self._worst.append((float(losses[place]), seen(place)))
        self._worst = sorted(self._worst, key=lambda pair: -pair[0])[: self.worst]
        self._threshold = self._worst[-1][0] if len(self._worst) == self.worst else 0.0
        self._fixed.add(judged.indices, seen)

    def _tile(self, seen: _Seen) -> Tile:
        scene, probabilities = self.scene, seen.probabilities
        colour = RIGHT if seen.is_right else WRONG
        image, name = scene.pixels(seen.image), scene.name_of(seen.index)
        if scene.task == "multilabel":
            said = scene.label((probabilities > 0.5).float())
            return Tile(image, said, f"true: {scene.label(seen.target)}", colour)
        share, best = probabilities.max(0)
        said = f"{scene.class_names[int(best)]} {share:.0%}"
        if seen.is_right:
            return Tile(image, f"{said}, right", name, colour)
        return Tile(image, f"{said}, wrong", f"is {scene.label(seen.target)}: {name}", colour)

    def evaluated(self, where: Where) -> Shown:
        fixed, worst = [*map(self._tile, self._fixed.kept)], [self._tile(seen) for _, seen in self._worst]
        when = f"after epoch {where.epoch + 1}"
        right = sum(tile.colour == RIGHT for tile in fixed)
        title = f"{right} of {len(fixed)} validation images right {when}, always the same ones"
        shown = [_picture("val/predictions", where, fixed, title, f"predictions {when}: green right, red wrong")]
        if worst:
            title = f"worst mistakes {when}: the wrong answers with the largest loss"
            shown.append(_picture("val/worst_mistakes", where, worst, title, f"the worst mistakes {when}"))
        return shown


def _is_right(judged: Judged) -> Tensor:
    if judged.targets.ndim == 1:
        return judged.probabilities.argmax(1) == judged.targets
    return ((judged.probabilities > 0.5) == (judged.targets > 0.5)).all(1)


def _at_least_one(watcher: str, **numbers: int) -> None:
    for name, value in numbers.items():
        if value < 1:
            raise ConfigError(f"watch.{watcher}.{name}: takes a whole number from 1 up, got {value}")


@watchers.register("inputs")
def inputs(count: int = 18) -> Inputs:
    """A grid of training images after the transforms, with their labels.

    count: images, of the first batch of an epoch.
    """
    _at_least_one("inputs", count=count)
    return Inputs(count)


@watchers.register("predictions")
def predictions(count: int = 18, worst: int = 18) -> Predictions:
    """Validation images marked right or wrong, and the worst mistakes.

    count: images, spread over the validation set; worst: mistakes with the largest loss.
    """
    _at_least_one("predictions", count=count, worst=worst)
    return Predictions(count, worst)
