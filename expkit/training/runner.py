"""The loop: epoch, step, forward, loss, backward, clip, update; then evaluate, and keep a checkpoint."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from expkit.checkpoints import Checkpoints
from expkit.data.loader import Batch, Loader
from expkit.devices import Device
from expkit.keys import key
from expkit.loggers import LoggerGuard, Point
from expkit.training.metrics import EvalMetrics, TrainMetrics
from expkit.training.options import RunOptions
from expkit.training.schedules import Schedule

Scores = dict[str, float]


class TrainingDiverged(Exception):
    """The loss is no longer a number; the text says where and what usually helps."""


@dataclass
class Parts:
    """The objects that the loop works with; normalize turns (N, 3, H, W) uint8 into the model's input."""

    model: nn.Module
    normalize: nn.Module
    loss: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    train: Loader
    val: Loader
    train_metrics: TrainMetrics
    eval_metrics: EvalMetrics
    device: Device
    checkpoints: Checkpoints | None = None
    logger: LoggerGuard = field(default_factory=LoggerGuard)
    chance: float = math.nan  # the loss of a model that knows nothing
    facts: dict[str, Any] = field(default_factory=dict)  # what a checkpoint says of its model: classes, input, ...


class Runner:
    """Trains and evaluates. `run` is the whole story; read on from there."""

    def __init__(self, parts: Parts, options: RunOptions) -> None:
        self.parts, self.options = parts, options
        self.epoch = 0  # the epoch to do next
        self.step = 0  # updates of the weights so far
        self.batches = min(len(parts.train), options.limit_train_batches or len(parts.train))
        self.steps_per_epoch = math.ceil(self.batches / options.accumulate_steps)
        self.last_step = min(options.epochs * self.steps_per_epoch, options.max_steps or 10**18)
        self.wait = 0.0  # seconds this epoch spent waiting for data
        self.scores: Scores = {}

    def run(self) -> Scores:
        """Train to the end and return the last epoch's scores. Raises TrainingDiverged."""
        self.parts.logger.progress.epochs = math.ceil(self.last_step / self.steps_per_epoch)
        while self.step < self.last_step:
            began = time.perf_counter()
            trained = self.train_epoch()
            evaluated = self.evaluate()
            self.finish_epoch(trained, evaluated, began)
        return self.scores

    def train_epoch(self) -> Scores:
        """Train on each batch of the epoch once; returns the mean loss and scores over its samples."""
        parts, options = self.parts, self.options
        parts.model.train()
        parts.train_metrics.start_epoch()
        self.wait, self._began = 0.0, time.perf_counter()
        for number, batch in enumerate(self.batches_of("train", parts.train, self.batches)):
            window = min(
                options.accumulate_steps, self.batches - number // options.accumulate_steps * options.accumulate_steps
            )
            self.forward_backward(batch, number, window)
            if (number + 1) % options.accumulate_steps == 0 or number + 1 == self.batches:
                self.update()
                if self.step == self.last_step:
                    break
        self.log_steps()
        return parts.train_metrics.epoch()

    def forward_backward(self, batch: Batch, number: int, window: int) -> None:
        """Add the gradients of one batch, one of `window` that make up an update."""
        parts = self.parts
        parts.device.seed(key(self.options.seed, "step", self.epoch, number))
        images = parts.normalize(parts.device.images(batch.images))
        targets = parts.device.targets(batch.targets)
        with parts.device.autocast():
            outputs = parts.model(images)
            loss = parts.loss(outputs, targets)
        (loss / window if window > 1 else loss).backward()
        parts.train_metrics.update(loss.detach(), main_logits(outputs), targets)

    def update(self) -> None:
        """Clip the gradients, move the weights and the learning rate."""
        parts = self.parts
        if self.options.clip_grad_norm is not None:
            nn.utils.clip_grad_norm_(parts.model.parameters(), self.options.clip_grad_norm)
        parts.optimizer.step()
        parts.optimizer.zero_grad(set_to_none=True)
        parts.schedule.after_step()
        self.step += 1
        if self.step % self.options.log_every == 0:
            self.log_steps()

    @torch.no_grad()
    def evaluate(self) -> Scores:
        """Return the scores over every validation sample, each counted once."""
        parts = self.parts
        parts.model.eval()
        parts.eval_metrics.reset()
        batches = min(len(parts.val), self.options.limit_eval_batches or len(parts.val))
        for batch in self.batches_of("val", parts.val, batches):
            images = parts.normalize(parts.device.images(batch.images))
            targets = parts.device.targets(batch.targets)
            with parts.device.autocast():
                logits = main_logits(parts.model(images))
                loss = parts.loss(logits, targets)
            parts.eval_metrics.update(loss, logits, targets)
        return parts.eval_metrics.compute()
