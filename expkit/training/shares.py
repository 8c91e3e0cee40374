"""What a rank's part of a batch counts for, so that the parts' losses add up to the mean over the whole batch."""

from typing import Any

import torch
from torch import Tensor, nn

from expkit.data.samples import Batch
from expkit.devices import Ranks


class BatchShare:
    """The weight of this rank's part in the loss of a batch: its samples (or their class weights) over those of all.

    loss: whose mean is meant; may_lose: whether samples may be left out on the way, so that the ranks have to ask each
    other how many there are. image_size: in pixels, of the empty image batch that stands for an empty part.
    """

    def __init__(self, ranks: Ranks, loss: nn.Module, may_lose: bool, image_size: int) -> None:
        self.ranks, self.loss, self.may_lose, self.image_size = ranks, loss, may_lose, image_size
        inner: Any = getattr(loss, "loss", loss)
        self.class_weights: Tensor | None = inner.weight if isinstance(inner, nn.CrossEntropyLoss) else None

    def images(self, batch: Batch) -> Tensor:
        """Return the part's images; an empty part has an empty batch, which each rank takes through the model all the
        same, since the others wait for its gradients."""
        if len(batch.indices):
            return batch.images
        return torch.empty(0, 3, self.image_size, self.image_size, dtype=torch.uint8)

    def part_of_loss(self, outputs: Any, targets: Tensor, total: int, *taught: Any) -> Tensor:
        """Return what this part adds to the mean loss of a batch of `total` samples."""
        share = self.of(targets, total)
        if len(targets):
            return self.loss(outputs, targets, *taught) * share  # type: ignore[no-any-return]
        heads = [outputs] if isinstance(outputs, Tensor) else outputs
        return torch.stack([head.sum() for head in heads]).sum() * 0.0

    def part_of_scores(self, logits: Tensor, targets: Tensor, total: int) -> Tensor:
        """Return the loss that, counted for each sample of this part, adds up to the batch's mean for each of all."""
        if self.class_weights is None and len(targets):
            return self.loss(logits, targets)  # type: ignore[no-any-return]
        if self.class_weights is None:
            return logits.sum() * 0.0
        count = int(self.ranks.sum(torch.tensor(len(targets)))) if self.may_lose else total
        return self.part_of_loss(logits, targets, total) * count / max(len(targets), 1)

    def of(self, targets: Tensor, total: int) -> float | Tensor:
        """Return the share of a part with these targets; 0 where nothing is left."""
        # For shares of classes, as mixing makes them, torch divides by the number of samples whatever the weights.
        is_weighted = self.class_weights is not None and targets.ndim == 1
        if not is_weighted and not self.may_lose:
            return len(targets) / total
        own = torch.tensor(float(len(targets)), device=targets.device)
        if is_weighted:
            assert self.class_weights is not None
            own = self.class_weights[targets].sum()
        whole = self.ranks.sum(own)
        return own / whole if float(whole) else 0.0
