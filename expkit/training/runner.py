"""The loop: epoch, step, forward, loss, backward, clip, update; then evaluate, and keep a checkpoint."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from expkit.checkpoints import Checkpoints
from expkit.data.loader import Loader
from expkit.data.mixing import Mixing
from expkit.data.samples import Batch
from expkit.devices import Device
from expkit.keys import key
from expkit.loggers import LoggerGuard, Point
from expkit.models import training_mode
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
    mixing: Mixing | None = None  # MixUp, CutMix: of each training batch
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
        self.waited = self.worked = 0.0  # seconds that all epochs so far waited, and took
        self.scores: Scores = {}
        self.warned = False  # of a loss that stays at chance: once is enough

    def run(self) -> Scores:
        """Train to the end and return the last epoch's scores. Raises TrainingDiverged."""
        self.parts.logger.progress.epochs = math.ceil(self.last_step / self.steps_per_epoch)
        while self.step < self.last_step:
            began = time.perf_counter()
            trained = self.train_epoch()
            evaluated = self.evaluate()
            self.finish_epoch(trained, evaluated, time.perf_counter() - began)
        return self.scores

    def train_epoch(self) -> Scores:
        """Train on each batch of the epoch once; returns the mean loss and scores over its samples."""
        parts, options = self.parts, self.options
        training_mode(parts.model)
        parts.train_metrics.start_epoch()
        self.wait, self.interval_began = 0.0, time.perf_counter()
        every = options.accumulate_steps
        # All keys of the epoch at once: a microsecond each, whereas between two steps, on cold caches, it is ten.
        keys = [key(options.seed, "step", self.epoch, number) for number in range(self.batches)]
        for number, batch in enumerate(self.batches_of("train", parts.train, self.batches)):
            window = min(every, self.batches - number // every * every)  # the epoch's last may be shorter
            if len(batch.indices):  # else all of it was unreadable, and is passed over
                self.forward_backward(batch, number, keys[number], window)
            if (number + 1) % every == 0 or number + 1 == self.batches:
                self.update()
                if self.step == self.last_step:
                    break
        self.log_steps()
        return parts.train_metrics.epoch()

    def forward_backward(self, batch: Batch, number: int, step_key: int, window: int) -> None:
        """Add the gradients of the epoch's batch `number`, one of `window` that make up an update.

        Mixing and dropout draw from keys of their own.
        """
        parts = self.parts
        images = parts.normalize(parts.device.images(batch.images))
        targets = parts.device.targets(batch.targets)
        if parts.mixing is not None:
            parts.device.seed(key(self.options.seed, "batch", self.epoch, number))
            images, targets = parts.mixing(images, targets)
        parts.device.seed(step_key)
        with parts.device.autocast():
            outputs = parts.model(images)
            loss = parts.loss(outputs, targets)
        (loss / window if window > 1 else loss).backward()
        if parts.mixing is not None:
            targets = targets.argmax(1)  # a mixed image counts for the class that has most of it
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
            if not len(batch.indices):
                continue
            images = parts.normalize(parts.device.images(batch.images))
            targets = parts.device.targets(batch.targets)
            with parts.device.autocast():
                logits = main_logits(parts.model(images))
                loss = parts.loss(logits, targets)
            parts.eval_metrics.update(loss, logits, targets)
        return parts.eval_metrics.compute()

    def batches_of(self, stage: str, loader: Loader, count: int) -> Iterator[Batch]:
        """Yield the first `count` batches of this epoch; keeps the progress, and the time spent waiting for data."""
        progress = self.parts.logger.progress
        progress.stage, progress.epoch, progress.done, progress.total = stage, self.epoch, 0, count
        # Evaluation draws, if a user's transform draws at all, the same in every epoch.
        batches = loader.epoch(self.epoch if stage == "train" else 0)
        for _ in range(count):
            asked = time.perf_counter()
            batch = next(batches)
            self.wait += time.perf_counter() - asked
            yield batch
            progress.done += 1

    def log_steps(self) -> None:
        """Read the sums since the last time, once, and hand them over. Raises TrainingDiverged."""
        samples = self.parts.train_metrics.count
        if not samples:
            return
        values = self.parts.train_metrics.interval()
        now = time.perf_counter()
        values |= {"lr": self.rate, "images_per_second": samples / (now - self.interval_began)}
        self.interval_began = now
        self.parts.logger.point(Point("step", self.epoch, self.step, values))
        if not math.isfinite(values["loss"]):
            raise TrainingDiverged(
                f"the loss became {values['loss']} at or before step {self.step} (epoch {self.epoch + 1});"
                " lower optimizer.lr, set clip_grad_norm=1, add schedule.warmup_steps, or use device.precision=fp32"
            )

    @property
    def rate(self) -> float:
        """The learning rate of the first group."""
        return float(self.parts.optimizer.param_groups[0]["lr"])

    def finish_epoch(self, trained: Scores, evaluated: Scores, seconds: float) -> None:
        """Hand over the epoch's scores, keep a checkpoint, and say so when nothing is being learned."""
        parts = self.parts
        samples = parts.train_metrics.epoch_count
        self.scores = {f"train/{name}": value for name, value in trained.items()}
        self.scores |= {f"val/{name}": value for name, value in evaluated.items()}
        times = {"lr": self.rate, "seconds": seconds, "images_per_second": samples / seconds}
        values = self.scores | times | {"data_wait": self.wait / seconds}
        self.waited, self.worked = self.waited + self.wait, self.worked + seconds
        parts.logger.point(Point("epoch", self.epoch, self.step, values))
        if stays_at_chance(trained["loss"], parts.chance) and not self.warned:
            self.warned = True
            parts.logger.message(at_chance_warning(trained["loss"], parts.chance))
        monitored = evaluated[parts.checkpoints.monitor] if parts.checkpoints else evaluated["loss"]
        parts.schedule.after_epoch(monitored)
        self.epoch += 1
        if parts.checkpoints and parts.checkpoints.due(self.epoch, self.step == self.last_step):
            place = {"epoch": self.epoch, "step": self.step}
            parts.checkpoints.save(self.state_dict(), parts.facts | place, evaluated)

    def state_dict(self) -> dict[str, Any]:
        """Return all that a run needs to go on from here; there is no RNG state, since randomness is keyed."""
        parts = self.parts
        return {
            "model": parts.model.state_dict(),
            "optimizer": parts.optimizer.state_dict(),
            "schedule": parts.schedule.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state_dict` gave."""
        parts = self.parts
        parts.model.load_state_dict(state["model"])
        parts.optimizer.load_state_dict(state["optimizer"])
        _keep_layout(parts.optimizer)
        parts.schedule.load_state_dict(state["schedule"])
        self.epoch, self.step = state["epoch"], state["step"]


def main_logits(outputs: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Return the (N, C) logits of the main head; models with auxiliary heads give a tuple in training."""
    return outputs if isinstance(outputs, Tensor) else outputs[0]


def stays_at_chance(loss: float, chance: float) -> bool:
    """Say whether an epoch's mean loss is within 1 % of what a model that knows nothing has."""
    return abs(loss - chance) < 0.01 * chance


def at_chance_warning(loss: float, chance: float) -> str:
    return (
        f"warning: after a whole epoch the loss is {loss:.4f}, that of guessing ({chance:.4f}): nothing is learned."
        " Usual remedies: a lower optimizer.lr (try a tenth), schedule.warmup_epochs=1, clip_grad_norm=1,"
        " model.init=kaiming_normal or a model with normalisation layers, pretrained weights (model.weights=DEFAULT);"
        " and look at the labels"
    )


def _keep_layout(optimizer: torch.optim.Optimizer) -> None:
    """Give restored state the memory layout of its weight: fused updates walk through both as they lie in memory."""
    for weight, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == weight.shape:
                state[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)
