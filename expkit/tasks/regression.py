"""Numbers of each image."""

import torch
from torch import Tensor

from expkit.config.registry import tasks
from expkit.data.dataset import ImageDataset
from expkit.tasks.metric import Metric
from expkit.tasks.number_metrics import R2, MeanAbsoluteError
from expkit.tasks.task import Task, TaskInfo


class Regression(Task):
    """K numbers of each image.

    The model gives (N, K) standardised numbers, (y - mean) / std by the training data, so that the loss weighs numbers
    of any unit alike.
    """

    kind, output_name = "regression", "numbers"
    output_text = "numbers (N, K), standardised; y * std + mean gives them in their own units"

    def describe(self, data: ImageDataset) -> TaskInfo:
        mean, std = data.targets.mean(axis=0, dtype="float64"), data.targets.std(axis=0, dtype="float64")
        std[std == 0] = 1.0  # a number that is always the same
        return TaskInfo(tuple(data.class_names), {"mean": mean.tolist(), "std": std.tolist()})

    def metrics(self) -> list[Metric]:
        names, std = self.info.outputs, self.info.statistics["std"]
        found: list[Metric] = [R2(len(names)), MeanAbsoluteError(std)]
        return found if len(names) == 1 else [R2(len(names)), R2(len(names), names), MeanAbsoluteError(std, names)]

    def targets(self, images: Tensor, targets: Tensor) -> Tensor:
        mean, std = self._scale(targets)
        return (targets - mean) / std

    def answers(self, outputs: Tensor) -> Tensor:
        mean, std = self._scale(outputs)
        return outputs * std + mean

    def _scale(self, like: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = (self.info.statistics[name] for name in ("mean", "std"))
        return torch.tensor(mean, device=like.device).float(), torch.tensor(std, device=like.device).float()


@tasks.register("regression")
def regression() -> Task:
    """One or several numbers of each image."""
    return Regression()
