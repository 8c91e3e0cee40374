"""What a run does when a loss or a gradient is no longer a finite number: stop, pass over the step, or go back."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from expkit.config.run_options import OnNan
from expkit.data.loader import Loader
from expkit.training.metrics import BadBatch

REMEDIES = (
    "lower optimizer.lr, set clip_grad_norm=1, add schedule.warmup_steps, or use device.precision=fp32;"
    " on_nan=skip passes over such steps, on_nan=roll_back goes back to the last checkpoint"
)
MOST_ROLL_BACKS = 5  # in a row without a new checkpoint: then it is not the batch
_SHOWN = 8  # samples named in a message


class TrainingDiverged(Exception):
    """The loss is no longer a number; the text says where and what usually helps."""


class RollBack(Exception):
    """The runner is to go back to the last checkpoint, and to pass over this batch when it comes by again."""

    def __init__(self, told: str, batch: int | None = None) -> None:
        super().__init__(told)
        self.batch = batch


def not_finite(told: str, on_nan: OnNan) -> Exception:
    """Return what is raised for a state that has been found to hold numbers that are none."""
    return RollBack(told) if on_nan == "roll_back" else TrainingDiverged(f"{told}; {REMEDIES}")


def describe(bad: BadBatch, epoch: int, step: int, loader: Loader) -> str:
    """Return where it happened, and which samples the batch has. epoch: from 0; step: the update, from 1."""
    return f"the {bad.what} became {bad.value} at step {step} (epoch {epoch + 1}), with {samples(bad.batch, loader)}"


def samples(batch: int, loader: Loader) -> str:
    """Return where the samples of a batch of the present epoch lie."""
    indices = loader.batches.places(batch).indices.tolist()
    names = [loader.samples.dataset.location(index) for index in indices[:_SHOWN]]
    return ", ".join(names) + (f" and {len(indices) - _SHOWN} more" if len(indices) > _SHOWN else "")


def gradient_norm(model: nn.Module, limit: float | None) -> Tensor | None:
    """Return the norm of all gradients together, after clipping them to `limit` if there is one; None without any."""
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    if not gradients:
        return None
    norm = nn.utils.get_total_norm(gradients)
    if limit is not None:
        nn.utils.clip_grads_with_norm_(model.parameters(), limit, norm)
    return _whole(norm)


def whole_norm(gradients: Sequence[Tensor]) -> Tensor:
    """Return the norm of gradients together; where ranks have shares of them, all must ask."""
    return _whole(nn.utils.get_total_norm(gradients))


def _whole(norm: Tensor) -> Tensor:
    whole: Tensor = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
    return whole


class Buffers:
    """The buffers of a model (the means of batch normalisation) as they were before a step that may be passed over."""

    def __init__(self, model: nn.Module) -> None:
        self._live = list(model.buffers())
        self._kept = [value.clone() for value in self._live]

    @torch.no_grad()
    def keep(self) -> None:
        for kept, live in zip(self._kept, self._live, strict=True):
            kept.copy_(live)

    @torch.no_grad()
    def restore(self) -> None:
        for kept, live in zip(self._kept, self._live, strict=True):
            live.copy_(kept)
