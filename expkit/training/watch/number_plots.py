"""Numbers that are predicted: each over the true one, and its errors."""

import numpy as np
import torch
from torch import Tensor

from expkit.config.registry import watchers
from expkit.core.errors import ConfigError
from expkit.core.formatting import count_noun
from expkit.core.plots.scatter_grid import Panel, draw_scatter
from expkit.loggers.figures import Picture
from expkit.tasks.number_metrics import R2
from expkit.training.watch.base import Judged, Shown, Spread, Watcher, Where

_COLUMNS = 4


class Scatter(Watcher):
    """Predicted over true numbers of a part of the samples, those with the lowest R² (of all samples) first."""

    kinds = ("regression",)

    def __init__(self, numbers: int, samples: int) -> None:
        self.numbers, self.samples = numbers, samples

    def before_evaluation(self) -> None:
        names = self.scene.class_names
        self._r2, self._kept = R2(len(names), names), Spread[tuple[Tensor, Tensor]](self.samples)
        self._r2.reset(torch.device("cpu"))

    def judge(self, judged: Judged) -> None:
        said, true = judged.probabilities.cpu(), judged.targets.cpu()
        self._r2.update(said, true)
        self._kept.add(judged.indices, lambda place: (said[place], true[place]))

    def evaluated(self, where: Where) -> Shown:
        said, true = (
            self.scene.unscaled(torch.stack(part)).double().numpy() for part in zip(*self._kept.kept, strict=True)
        )
        names, scores = self.scene.class_names, self._r2.scores()
        order = np.argsort(scores, kind="stable")[: self.numbers].tolist()
        finite = np.isfinite(said).all(axis=1)
        if not finite.any():
            return ()
        panels = [Panel(f"{names[k]}: r2 {scores[k]:.4f}", true[finite, k], said[finite, k]) for k in order]
        count, when = count_noun(len(true), "validation image"), f"after epoch {where.epoch + 1}"
        drawn = np.asarray(draw_scatter(panels, min(_COLUMNS, len(panels)), f"{count} {when}"))
        caption = f"predicted over true numbers {when}, and the errors: predicted - true"
        return [Picture("val/scatter", where.epoch, where.step, drawn, caption)]


@watchers.register("scatter")
def scatter(numbers: int = 8, samples: int = 1000) -> Scatter:
    """Predicted over true numbers with their R², and a histogram of the errors.

    numbers: how many, those with the lowest R²; samples: how many are drawn, spread over the validation set.
    """
    for name, value in (("numbers", numbers), ("samples", samples)):
        if value < 1:
            raise ConfigError(f"watch.scatter.{name}: expected an integer from 1 up, got {value}")
    return Scatter(numbers, samples)
