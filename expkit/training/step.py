"""What a batch goes through: from its images in memory to gradients, or to the logits of an evaluation."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from expkit.core.seeding import derive_seed
from expkit.data.batches import Batch
from expkit.data.mixing import Mixing
from expkit.devices import Device, Ranks
from expkit.tasks.task import Task
from expkit.training.loss_share import BatchLoss
from expkit.training.micro_batches import MicroBatches
from expkit.training.train_state import Position
from expkit.training.watch import WatchDispatcher


class StepKeys:
    """The keys of all random draws of a process's steps.

    rank: of this process, 0 where it is the only one; each draws for its own part of a batch, mixing is drawn alike.
    """

    def __init__(self, seed: int, rank: int = 0) -> None:
        self.seed, self._place = seed, (rank,) if rank else ()
        self.forward: list[int] = []  # of dropout and the like in each batch of the epoch

    def start_epoch(self, epoch: int, batches: int) -> None:
        """Derive the keys of an epoch at once: a microsecond each; between two steps, on cold caches, it is ten."""
        self.forward = [derive_seed(self.seed, "step", epoch, number, *self._place) for number in range(batches)]

    def mixing(self, epoch: int, batch: int) -> int:
        return derive_seed(self.seed, "batch", epoch, batch)

    def statistics(self, epoch: int, batch: int) -> int:
        return derive_seed(self.seed, "statistics", epoch, batch, *self._place)


class EvaluatedBatch(NamedTuple):
    """images: (N, 3, H, W) as the model saw them; outputs: (N, …); loss: what counts for each of the N samples."""

    images: Tensor
    targets: Tensor
    outputs: Tensor
    loss: Tensor


@dataclass
class TrainStep:
    """What a batch goes through, on the run's devices.

    forward: what is called in training, the model or a wrapper of it. normalize: turns (N, 3, H, W) uint8 into the
    model's input. scaler: of the losses, for fp16. ranks: the processes of the run, None for a single one.
    """

    task: Task
    model: nn.Module
    forward: Callable[..., Any]
    loss: BatchLoss
    normalize: nn.Module
    device: Device
    keys: StepKeys
    watch: WatchDispatcher
    mixing: Mixing | None = None  # MixUp, CutMix
    scaler: torch.amp.GradScaler | None = None
    micro_batches: MicroBatches | None = None
    ranks: Ranks | None = None

    def run(self, batch: Batch, position: Position, window: int) -> tuple[Tensor, Tensor, Tensor]:
        """Add the gradients of a batch, one of `window` of an update; returns its mean loss, its outputs and targets.

        All that is drawn on the way is keyed by the batch's position in the run.
        """
        images, targets = self._inputs(batch)
        if self.mixing is not None:
            self.device.seed(self.keys.mixing(position.epoch, position.batch))
            images, targets = self._mixed(images, targets)
        if position.batch == 0:
            self.watch.trained_on(position.epoch, position.step, images, targets)
        self.device.seed(self.keys.forward[position.batch])
        self.loss.start_batch(targets, batch.total)
        if self.micro_batches is None:
            loss, outputs = self._add_gradients(images, targets, window)
        else:
            compute = partial(self._add_gradients, window=window)
            found = self.micro_batches.run(compute, images, targets, batch.total)
            loss, outputs = torch.stack([loss for loss, _ in found]).sum(), torch.cat([part for _, part in found])
        if self.mixing is not None and targets.ndim == 2:
            targets = targets.argmax(1)  # a mixed image counts for the class that has most of it
        return loss, outputs, targets

    def _inputs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return a batch on the device, normalised; a part that is to be mixed has its neighbour before it."""
        images, targets = self.loss.images(batch), batch.targets
        if self.mixing is not None:
            images, targets = self.loss.with_neighbour(images, targets)
        return self._prepared(images, targets)

    def _prepared(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the model's input and what the loss compares its outputs with, on the device."""
        images, targets = self.device.images(images), self.device.targets(targets)
        return self.normalize(images), self.task.targets(images, targets)

    def _mixed(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `_inputs` gave mixed, without the neighbour."""
        assert self.mixing is not None
        images, targets = self.mixing(images, targets)
        return (images[1:], targets[1:]) if self.ranks else (images, targets)

    def _add_gradients(self, images: Tensor, targets: Tensor, window: int) -> tuple[Tensor, Tensor]:
        """Add the gradients of a batch, or of a micro-batch; returns its loss and outputs."""
        with self.device.autocast():
            loss, outputs = self.task.training_step(self.forward, self.loss.of(images), images, targets)
            loss = self.loss.share(loss, outputs, targets)
        scaled = loss / window if window > 1 else loss
        is_auto = self.micro_batches is not None and self.micro_batches.is_auto
        if self.ranks and not is_auto:  # they average their gradients, and the sum over the parts is meant
            scaled = scaled * self.ranks.size
        if self.scaler:
            scaled = self.scaler.scale(scaled)
        if is_auto:
            assert self.micro_batches is not None
            self.micro_batches.backward(scaled, self.model)
        else:
            scaled.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), outputs.detach()

    def all_reduce_gradients(self) -> None:
        """Add up the ranks' gradients before an update, where the backward pass does not."""
        if self.micro_batches is not None:
            self.micro_batches.all_reduce_gradients(self.model)

    def images(self, batch: Batch) -> Tensor:
        """Return the images of a batch on the device, as the model sees them but unmixed."""
        images: Tensor = self.normalize(self.device.images(self.loss.images(batch)))
        return images

    def evaluate(self, forward: Callable[[Tensor], Any], batch: Batch) -> EvaluatedBatch:
        """Return what a model answers for a batch. forward: the model in evaluation mode, or a wrapper of it."""
        images, targets = self._prepared(self.loss.images(batch), batch.targets)
        predict = partial(self.task.predict, forward)
        with self.device.autocast():
            if self.micro_batches is None:
                outputs = predict(images)
            else:
                found = self.micro_batches.run(lambda part, _: predict(part), images, images, batch.total)
                outputs = torch.cat(found)
            loss = self.loss.evaluate(outputs, targets, batch.total)
        return EvaluatedBatch(images, targets, outputs, loss)
