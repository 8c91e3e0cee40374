"""The evaluation of a run: each validation sample is counted once."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from expkit.data.batches import Batch
from expkit.data.loader import Loader
from expkit.training.metrics import EvalMetrics, Scores
from expkit.training.step import TrainStep


@dataclass
class Evaluator:
    """Scores the model of a step, or an average of it. forward: the model as it is called in evaluation."""

    step: TrainStep
    forward: Callable[..., Any]
    loader: Loader
    metrics: EvalMetrics

    @torch.no_grad()
    def run(self, batches: Iterable[Batch], epoch: int, step: int, average: nn.Module | None) -> Scores:
        """Return the scores over all samples of the batches. epoch, step: of the run, for those that watch."""
        watch, model = self.step.watch, average or self.step.model
        model.eval()
        self.metrics.reset()
        watch.begin_evaluation(epoch, step, model)
        for batch in batches:
            if not (batch.total or len(batch.indices)):
                continue
            images, targets, logits, loss = self.step.evaluate(average or self.forward, batch)
            self.metrics.update(loss, logits, targets)
            watch.judge(images, logits, targets, batch.indices)
        watch.end_evaluation()
        return self.metrics.compute()
