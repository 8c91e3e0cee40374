"""What a part of a batch counts for, so that the parts' losses add up to the mean over the whole batch."""

from typing import Any

import torch
from torch import Tensor, nn

from expkit.data.batches import Batch
from expkit.devices import Ranks


class LossShare:
    """The weight of this rank's part in the loss of a batch: its samples (or their class weights) over those of all.

    ranks: None for one process that computes a batch in pieces. loss: whose mean is meant; may_lose: whether samples
    may be left out on the way, so that the ranks have to ask each other how many there are. image_size: in pixels, of
    the empty image batch that stands for an empty part.
    """

    def __init__(self, ranks: Ranks | None, loss: nn.Module, may_lose: bool, image_size: int) -> None:
        self.ranks, self.loss, self.may_lose, self.image_size = ranks, loss, may_lose, image_size
        self.whole: float | Tensor = 1.0  # the weight of the batch at hand
        inner: Any = getattr(loss, "loss", loss)
        self.class_weights: Tensor | None = inner.weight if isinstance(inner, nn.CrossEntropyLoss) else None

    def images(self, batch: Batch) -> Tensor:
        """Return the part's images; an empty part has an empty batch, which each rank takes through the model all the
        same, since the others wait for its gradients."""
        if len(batch.indices):
            return batch.images
        return torch.empty(0, 3, self.image_size, self.image_size, dtype=torch.uint8)

    def with_neighbour(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return a part with the image that stands before it in the whole batch (before the first, the last) as its
        first, since mixing blends each with the one before it: so pairs are the same for any number of ranks."""
        if self.ranks is None:
            return images, targets
        own = (images[-1:].clone(), targets[-1:].clone()) if len(targets) else None
        parts = self.ranks.collect(own)
        before = [part for part in [*parts[self.ranks.rank :], *parts[: self.ranks.rank]] if part]
        if not before:
            return images, targets
        image, target = before[-1]
        return (torch.cat([image, images]), torch.cat([target, targets])) if len(targets) else (image, target)

    def begin(self, targets: Tensor, total: int) -> None:
        """Take up a batch of `total` samples, of which this part has these targets; then come losses of its pieces."""
        self.whole = self._weight(targets)
        if self.ranks and not (self.may_lose or self._is_weighted(targets)):
            self.whole = float(total)
        elif self.ranks:
            self.whole = self.ranks.sum(torch.as_tensor(self.whole, device=targets.device))

    def part_of_loss(self, outputs: Any, targets: Tensor, *taught: Any) -> Tensor:
        """Return what this part, or a piece of it, adds to the mean loss of the batch."""
        if len(targets):
            share = self._weight(targets) / self.whole if float(self.whole) else 0.0
            return self.loss(outputs, targets, *taught) * share  # type: ignore[no-any-return]
        heads = [outputs] if isinstance(outputs, Tensor) else outputs
        return torch.stack([head.sum() for head in heads]).sum() * 0.0

    def part_of_scores(self, logits: Tensor, targets: Tensor, total: int) -> Tensor:
        """Return the loss that, counted for each sample of this part, adds up to the batch's mean for each of all."""
        if self.class_weights is None and len(targets):
            return self.loss(logits, targets)  # type: ignore[no-any-return]
        if self.class_weights is None:
            return logits.sum() * 0.0
        assert self.ranks is not None
        count = int(self.ranks.sum(torch.tensor(len(targets)))) if self.may_lose else total
        self.begin(targets, total)
        return self.part_of_loss(logits, targets) * count / max(len(targets), 1)

    def _is_weighted(self, targets: Tensor) -> bool:
        # For shares of classes, as mixing makes them, torch divides by the number of samples whatever the weights.
        return self.class_weights is not None and targets.ndim == 1

    def _weight(self, targets: Tensor) -> float | Tensor:
        """Return what samples count for together in a mean."""
        if self._is_weighted(targets):
            assert self.class_weights is not None
            return self.class_weights[targets].sum()
        return float(len(targets))
