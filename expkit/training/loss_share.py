"""The loss of a batch: whole, or the share of a part, so that the parts' losses add up to the mean over the batch."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from expkit.data.batches import Batch
from expkit.devices import Ranks
from expkit.training.distillation import Teacher


class BatchLoss:
    """The mean loss of a batch that is computed in one piece, by one process.

    loss: of the model's outputs and targets. teacher: a trained model whose logits the loss takes too.
    """

    def __init__(self, loss: nn.Module, teacher: Teacher | None = None) -> None:
        self.loss, self.teacher = loss, teacher

    def images(self, batch: Batch) -> Tensor:
        """Return the images of a batch."""
        return batch.images

    def with_neighbour(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return a batch with all that its mixing needs."""
        return images, targets

    def start_batch(self, targets: Tensor, total: int) -> None:
        """Prepare for the losses of the next batch, or of its micro-batches. total: samples of all ranks' parts."""

    def of(self, images: Tensor) -> Callable[[Any, Tensor], Tensor]:
        """Return the loss of outputs and targets. images: (N, 3, H, W) as the model sees them, for the teacher."""
        if self.teacher is None:
            return self.loss
        teacher = self.teacher
        return lambda outputs, targets: self.loss(outputs, targets, teacher(images))

    def share(self, loss: Tensor, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return what to minimise. loss: the mean over these samples."""
        return loss

    def evaluate(self, logits: Tensor, targets: Tensor, total: int) -> Tensor:
        """Return the loss that counts for each sample of an evaluated batch."""
        loss: Tensor = self.loss(logits, targets)
        return loss


class LossShare(BatchLoss):
    """The share that a part of a batch has in its mean loss: a rank's part, or a micro-batch.

    A part weighs as much as its samples (or their class weights) do among those of the whole batch. ranks: None for one
    process that computes micro-batches. may_lose: whether samples may be left out on the way, so that the ranks have to
    ask each other how many there are. image_size: in pixels, of the empty image batch that stands for an empty part.
    """

    def __init__(
        self, loss: nn.Module, teacher: Teacher | None, ranks: Ranks | None, may_lose: bool, image_size: int
    ) -> None:
        super().__init__(loss, teacher)
        self.ranks, self.may_lose, self.image_size = ranks, may_lose, image_size
        self.total_weight: float | Tensor = 1.0  # of the current batch
        inner: Any = getattr(loss, "loss", loss)
        self.class_weights: Tensor | None = inner.weight if type(inner) is nn.CrossEntropyLoss else None
        # What targets count for in the mean of a loss that says so, as one does that leaves out some pixels.
        self.weight_of: Callable[[Tensor], Tensor] | None = getattr(inner, "weight_of", None)

    def images(self, batch: Batch) -> Tensor:
        """Return the part's images; an empty part has an empty batch.

        Each rank takes it through the model all the same, since the others wait for its gradients.
        """
        if len(batch.indices):
            return batch.images
        return torch.empty(0, 3, self.image_size, self.image_size, dtype=torch.uint8)

    def with_neighbour(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return a rank's part with the image before it in the whole batch (before the first, the last) as its first.

        Mixing blends each image with the one before it: so the pairs are the same for any number of ranks.
        """
        if self.ranks is None:
            return images, targets
        own = (images[-1:].clone(), targets[-1:].clone()) if len(targets) else None
        parts = self.ranks.collect(own)
        before = [part for part in [*parts[self.ranks.rank :], *parts[: self.ranks.rank]] if part]
        if not before:
            return images, targets
        image, target = before[-1]
        return (torch.cat([image, images]), torch.cat([target, targets])) if len(targets) else (image, target)

    def start_batch(self, targets: Tensor, total: int) -> None:
        """Find the weight of a batch of `total` samples, of which this part has these targets."""
        self.total_weight = self._weight(targets)
        if self.ranks and not (self.may_lose or self._is_weighted(targets)):
            self.total_weight = float(total)
        elif self.ranks:
            self.total_weight = self.ranks.sum(torch.as_tensor(self.total_weight, device=targets.device))

    def of(self, images: Tensor) -> Callable[[Any, Tensor], Tensor]:
        return super().of(images) if len(images) else _of_nothing

    def share(self, loss: Tensor, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return what this part, or a micro-batch of it, adds to the mean loss of the batch."""
        return loss * self._share(targets) if len(targets) else loss

    def evaluate(self, logits: Tensor, targets: Tensor, total: int) -> Tensor:
        """Return the loss that, counted for each sample of this part, adds up to the batch's mean for each of all."""
        is_plain = self.class_weights is None and self.weight_of is None
        if self.ranks is None or (is_plain and len(targets)):
            return super().evaluate(logits, targets, total)
        if is_plain:
            return logits.sum() * 0.0
        count = int(self.ranks.sum(torch.tensor(len(targets)))) if self.may_lose else total
        self.start_batch(targets, total)
        loss = self.loss(logits, targets) * self._share(targets) if len(targets) else logits.sum() * 0.0
        return loss * count / max(len(targets), 1)

    def _is_weighted(self, targets: Tensor) -> bool:
        # For shares of classes, as mixing makes them, torch divides by the number of samples whatever the weights.
        return self.weight_of is not None or (self.class_weights is not None and targets.ndim == 1)

    def _share(self, targets: Tensor) -> float | Tensor:
        """Return the weight of samples as a share of the weight of the current batch."""
        return self._weight(targets) / self.total_weight if float(self.total_weight) else 0.0

    def _weight(self, targets: Tensor) -> float | Tensor:
        """Return what samples count for together in a mean."""
        if self.weight_of is not None:
            return self.weight_of(targets)
        if self._is_weighted(targets):
            assert self.class_weights is not None
            return self.class_weights[targets].sum()
        return float(len(targets))


def _of_nothing(outputs: Any, targets: Tensor) -> Tensor:
    """Return 0 as the loss of an empty batch, by way of each head, so that all weights get gradients."""
    heads = [outputs] if isinstance(outputs, Tensor) else outputs
    return torch.stack([head.sum() for head in heads]).sum() * 0.0
