"""The objects that the loop works with."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from expkit.checkpoints import CheckpointManager
from expkit.data.batches import Batch
from expkit.data.loader import Loader
from expkit.data.mixing import Mixing
from expkit.devices import Device, Ranks
from expkit.loggers import LoggerHub
from expkit.training.distillation import Teacher
from expkit.training.early_stopping import EarlyStopping
from expkit.training.loss_share import LossShare
from expkit.training.metrics import EvalMetrics, TrainMetrics, main_logits
from expkit.training.micro_batches import MicroBatches
from expkit.training.non_finite import Buffers, gradient_norm
from expkit.training.schedules import Schedule
from expkit.training.signals import Interruption
from expkit.training.unfreezing import GradualUnfreezing
from expkit.training.watch import Watch
from expkit.training.weight_averaging import Average

Done = TypeVar("Done")


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
    monitor: str = "loss"  # the validation score that says which epoch is best
    mixing: Mixing | None = None  # MixUp, CutMix: of each training batch
    teacher: Teacher | None = None  # whose answers the loss takes too
    average: Average | None = None
    stopping: EarlyStopping | None = None
    unfreezing: GradualUnfreezing | None = None  # which layers are trained in an epoch
    buffers: Buffers | None = None  # the model's, to undo a step that is skipped
    checkpoints: CheckpointManager | None = None
    logger: LoggerHub = field(default_factory=LoggerHub)
    interruption: Interruption = field(default_factory=Interruption)
    watch: Watch = field(default_factory=Watch)  # pictures, tables, curves: never part of what is computed
    forward: Callable[..., Any] = field(init=False)  # what a step calls: the model, wrapped or compiled
    inference: Callable[..., Any] | None = None  # the same for evaluation
    ranks: Ranks | None = None  # the processes of this run, where there are several
    share: LossShare | None = None  # what a rank's part, or a piece, counts for in the loss of its batch
    pieces: MicroBatches = field(default_factory=MicroBatches)  # of a batch, to fit into memory
    is_shared_out: bool = False  # whether each rank has only a share of the weights
    unshared: nn.Module | None = None  # the model before, until its average has been made
    scaler: Any = None  # of losses, for fp16
    chance: float = math.nan  # the loss of a model that knows nothing
    facts: dict[str, Any] = field(default_factory=dict)  # what a checkpoint says of its model: classes, input, ...

    def __post_init__(self) -> None:
        self.forward = self.model

    def stateful(self, state: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the parts whose state a checkpoint holds, by their name in it. state: the checkpoint's, to be read."""
        found = {"model": self.model, "optimizer": self.optimizer, "schedule": self.schedule}
        found |= {"metrics": self.train_metrics, "average": self.average, "stopping": self.stopping}
        if state is None or "scaler" in state:  # one of another precision has none
            found["scaler"] = self.scaler
        if self.pieces.is_auto and (state is None or "pieces" in state):
            found["pieces"] = self.pieces
        return {name: part for name, part in found.items() if part is not None}

    def images_of(self, batch: Batch) -> Tensor:
        """Return a batch's images; an empty part of one has a shape all the same."""
        return self.share.images(batch) if self.share else batch.images

    def inputs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return a training batch on the device, normalised; a part that is to be mixed has its neighbour before it."""
        images, targets = self.images_of(batch), batch.targets
        if self.mixing and self.share:
            images, targets = self.share.with_neighbour(images, targets)
        return self.normalize(self.device.images(images)), self.device.targets(targets)

    def mixed(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `inputs` gave mixed, without the neighbour."""
        assert self.mixing is not None
        images, targets = self.mixing(images, targets)
        return (images[1:], targets[1:]) if self.ranks else (images, targets)

    def part_of_loss(self, outputs: Any, targets: Tensor, *taught: Any) -> Tensor:
        """Return the mean loss of a batch; of a part or a piece of it what it adds to that."""
        if self.share:
            return self.share.part_of_loss(outputs, targets, *taught)
        loss: Tensor = self.loss(outputs, targets, *taught)
        return loss

    def learn(self, images: Tensor, targets: Tensor, window: int) -> tuple[Tensor, Tensor]:
        """Add the gradients of a batch, one of `window` of an update, or of a piece; returns its loss and logits."""
        with self.device.autocast():
            outputs = self.forward(images)
            taught = () if self.teacher is None else (self.teacher(images),)
            loss = self.part_of_loss(outputs, targets, *taught)
        self.backward(loss / window if window > 1 else loss)
        return loss.detach(), main_logits(outputs).detach()

    def clip_gradients(self, limit: float | None, batch: int) -> None:
        """Clip the gradients to `limit`, if there is one, and note their norm before, as that of a batch.

        It is not noted where the scaler of fp16 judges: it passes over steps that are no numbers by itself.
        """
        if self.scaler:
            self.scaler.unscale_(self.optimizer)
        norm = gradient_norm(self.model, limit)
        if norm is not None and not self.scaler:
            self.train_metrics.norm(batch, norm)

    def mean_loss(self, logits: Tensor, targets: Tensor, total: int) -> Tensor:
        """Return the loss that counts for each sample of an evaluated batch."""
        if self.share and self.ranks:
            return self.share.part_of_scores(logits, targets, total)
        loss: Tensor = self.loss(logits, targets)
        return loss

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss; ranks average theirs, where the sum over the parts is meant."""
        if self.ranks and not self.pieces.is_auto:
            loss = loss * self.ranks.size
        loss = self.scaler.scale(loss) if self.scaler else loss
        if self.pieces.is_auto:
            self.pieces.backward(loss, self.model)
        else:
            loss.backward()

    def move_weights(self) -> None:
        """Take the optimizer's step; with fp16 only where no gradient overflowed."""
        if self.scaler:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()

    def own_size(self, batch_size: int) -> int:
        """Return how many images of a batch are this process's to compute, at most."""
        return math.ceil(batch_size / self.ranks.size) if self.ranks else batch_size

    @property
    def own_place(self) -> tuple[int, ...]:
        """What the draws of a rank's own part are keyed by beside epoch and batch: its number, after the first."""
        return (self.ranks.rank,) if self.ranks and self.ranks.rank else ()

    def give_weights(self) -> None:
        """Give rank 0 this rank's share of the weights, and of their average, if it has but a share."""
        if self.is_shared_out:
            self.model.state_dict()
            if self.average:
                self.average.model.state_dict()

    def scores_of_epoch(self, evaluated: Mapping[str, float]) -> dict[str, float]:
        """Return the scores of an evaluation with what watchers measured in it, for checkpoints."""
        return {name.removeprefix("val/"): value for name, value in self.watch.measured.items()} | dict(evaluated)

    def monitored(self, evaluated: Mapping[str, float]) -> float:
        """Return the monitored score of an evaluation on every rank; NaN where a watcher has not measured it."""
        if self.monitor in evaluated:
            return evaluated[self.monitor]
        found = self.scores_of_epoch(evaluated).get(self.monitor, math.nan)
        if math.isnan(score := float(self.told_by_first(repr(found)))):
            text = f"no watcher measured '{self.monitor}' in this epoch, so it cannot be the best"
            self.logger.message(f"warning: checkpoint.monitor: {text}")
        return score

    def told_by_first(self, text: str) -> str:
        """Return rank 0's text on every rank."""
        return self.ranks.from_first(text) if self.ranks else text

    def first_before_others(self, act: Callable[[], Done]) -> Done:
        """Do something on rank 0 and then on the others."""
        return self.ranks.first_before_others(act) if self.ranks else act()
