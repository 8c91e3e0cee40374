"""Images one wants to see: what the model gets, what it makes of some samples, and where it is worst."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from expkit.config.registry import watchers
from expkit.core.errors import ConfigError
from expkit.core.plots.image_grid import TILE, Tile, draw_grid
from expkit.loggers.figures import Picture
from expkit.training.watch.base import Judged, Shown, Spread, Watcher, Where
from expkit.training.watch.prediction_views import VIEWS, Seen, beside_mask, mask_legend

_COLUMNS = 6


class Inputs(Watcher):
    """The first training images of an epoch after transforms and mixing, with their labels."""

    moment = "inputs"

    def __init__(self, count: int) -> None:
        self.count = count

    def inputs(self, where: Where, images: Tensor, targets: Tensor) -> Shown:
        pairs = zip(images[: self.count], targets[: self.count].cpu(), strict=True)
        tiles = [self._tile(image, target) for image, target in pairs]
        size = f"{images.shape[-1]} x {images.shape[-2]}"
        title = f"what the model gets in epoch {where.epoch + 1}: {size}, after the transforms, shown de-normalised"
        caption = f"training images after the transforms, with their labels, epoch {where.epoch + 1}"
        has_masks = self.scene.task == "segmentation"
        columns, width = (_COLUMNS // 2, 2 * TILE) if has_masks else (_COLUMNS, TILE)
        legend = mask_legend(self.scene) if has_masks else ()
        drawn = draw_grid(tiles, min(columns, max(len(tiles), 3)), title, width=width, legend=legend)
        return [Picture("train/inputs", where.epoch, where.step, np.asarray(drawn), caption)]

    def _tile(self, image: Tensor, target: Tensor) -> Tile:
        """Draw an image with its label, or beside its mask."""
        pixels = self.scene.pixels(image)
        if self.scene.task == "segmentation":
            return Tile(beside_mask(pixels, target, self.scene), "")
        return Tile(pixels, self.scene.label(target))


class Predictions(Watcher):
    """The same few validation samples each time, beside what the model says of them; and its worst mistakes."""

    kinds = tuple(VIEWS)

    def __init__(self, count: int, worst: int) -> None:
        self.count, self.worst = count, worst

    def before_evaluation(self) -> None:
        self._view = VIEWS[self.scene.task](self.scene)
        self._fixed = Spread[Seen](self.count)
        self._worst: list[Seen] = []
        self._threshold = 0.0

    def judge(self, judged: Judged) -> None:
        errors = self._view.errors(judged).cpu()

        def seen(place: int) -> Seen:
            image = judged.images[place].clone()  # not a view, which would keep the whole batch
            target, output = judged.targets[place].cpu(), self._view.kept(judged.probabilities[place]).cpu()
            return Seen(image, target, output, int(judged.indices[place]), float(errors[place]))

        for place in errors.topk(min(self.worst, len(errors))).indices.tolist():
            if errors[place] > self._threshold:
                self._worst.append(seen(place))
        self._worst = sorted(self._worst, key=lambda one: -one.error)[: self.worst]
        self._threshold = self._worst[-1].error if len(self._worst) == self.worst else 0.0
        self._fixed.add(judged.indices, seen)

    def evaluated(self, where: Where) -> Shown:
        view, fixed, when = self._view, self._fixed.kept, f"after epoch {where.epoch + 1}"
        caption = f"predictions {when}: {view.caption}"
        shown = [self._drawn("val/predictions", where, fixed, view.title(fixed, when), caption)]
        if self._worst:
            title, caption = f"worst mistakes {when}: {view.worst}", f"the worst mistakes {when}"
            shown.append(self._drawn("val/worst_mistakes", where, self._worst, title, caption))
        return shown

    def _drawn(self, name: str, where: Where, seen: Sequence[Seen], title: str, caption: str) -> Picture:
        view = self._view
        columns = min(view.columns, max(len(seen), 3))
        drawn = draw_grid([view.tile(one) for one in seen], columns, title, view.side, view.width, view.legend)
        return Picture(name, where.epoch, where.step, np.asarray(drawn), caption)


def _at_least_one(watcher: str, **numbers: int) -> None:
    for name, value in numbers.items():
        if value < 1:
            raise ConfigError(f"watch.{watcher}.{name}: expected an integer from 1 up, got {value}")


@watchers.register("inputs")
def inputs(count: int = 18) -> Inputs:
    """A grid of training images after the transforms, with their labels.

    count: images, of the first batch of an epoch.
    """
    _at_least_one("inputs", count=count)
    return Inputs(count)


@watchers.register("predictions")
def predictions(count: int = 18, worst: int = 18) -> Predictions:
    """Validation images beside what the model says of them, and the worst mistakes.

    count: images, spread over the validation set; worst: mistakes with the largest loss or error.
    """
    _at_least_one("predictions", count=count, worst=worst)
    return Predictions(count, worst)
