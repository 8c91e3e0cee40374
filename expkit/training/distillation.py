"""A trained model that a run learns from, beside the labels."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from expkit.tasks.task import main_output


class Teacher:
    """A trained model that answers for the images of the student's batches, and learns nothing.

    model: on the device. order: for each of the student's classes its place among the teacher's. scale, shift: (3,)
    turn the student's normalised images into the teacher's. digest: of the file with its weights.
    """

    def __init__(self, model: nn.Module, order: Sequence[int], scale: Tensor, shift: Tensor, digest: str = "") -> None:
        self.model, self.digest = model.eval().requires_grad_(False), digest
        self.order = None if list(order) == sorted(order) else list(order)
        self.scale, self.shift = (one.view(1, 3, 1, 1) for one in (scale, shift))
        self.is_alike = bool((scale == 1).all() and (shift == 0).all())  # both are normalised in one way

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """images: (N, 3, h, w) as the student sees them, mixed or not -> (N, C) logits."""
        if not self.is_alike:
            images = images * self.scale + self.shift
        logits = main_output(self.model(images))
        return logits if self.order is None else logits[:, self.order]
