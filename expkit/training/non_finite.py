"""What a run does when a loss or a gradient is no longer a finite number: stop, pass over the step, or go back."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from expkit.config.run_options import OnNan, RunOptions
from expkit.data.loader import Loader
from expkit.training.metrics import BadBatch, TrainMetrics

REMEDIES = (
    "lower optimizer.lr, set clip_grad_norm=1, add schedule.warmup_steps, or use device.precision=fp32;"
    " on_nan=skip passes over such steps, on_nan=roll_back goes back to the last checkpoint"
)
MOST_ROLL_BACKS = 5  # in a row without a new checkpoint: then it is not the batch
_SHOWN = 8  # samples named in a message


class TrainingDiverged(Exception):
    """The loss is no longer a number; the text says where and what usually helps."""


class RollBack(Exception):
    """The trainer is to load the last checkpoint, and to pass over this batch when it comes by again."""

    def __init__(self, problem: str, batch: int | None = None) -> None:
        super().__init__(problem)
        self.batch = batch


def not_finite(problem: str, on_nan: OnNan) -> Exception:
    """Return what is raised for a state that has been found to hold numbers that are none."""
    return RollBack(problem) if on_nan == "roll_back" else TrainingDiverged(f"{problem}; {REMEDIES}")


class NonFinite:
    """Finds losses and gradients that are not finite, and answers as `on_nan` says.

    metrics: those of training, which see each loss and norm. loader: whose samples are named.
    """

    def __init__(self, options: RunOptions, metrics: TrainMetrics, loader: Loader, model: nn.Module) -> None:
        self.on_nan, self.accumulate_steps = options.on_nan, options.accumulate_steps
        self.metrics, self.loader = metrics, loader
        self.buffers = Buffers(model) if options.on_nan == "skip" else None
        self.roll_backs = 0  # since the last checkpoint

    def start_step(self) -> None:
        """Keep what a step that is skipped must leave as it was."""
        if self.buffers:
            self.buffers.keep()

    def check(self, epoch: int, steps_before: int) -> None:
        """Check the losses since the last time. steps_before: of all earlier epochs. Raises TrainingDiverged, RollBack.

        Reading them waits for the device.
        """
        if not (bad := self.metrics.read()):
            return
        found = describe(bad[0], epoch, steps_before + bad[0].batch // self.accumulate_steps + 1, self.loader)
        if self.on_nan == "roll_back":
            raise RollBack(found, bad[0].batch)
        raise TrainingDiverged(f"{found}; {REMEDIES}")

    def skip_warning(self, epoch: int, step: int) -> str:
        """Return why the weights may not be updated, with the buffers restored; "" where they may."""
        if self.on_nan != "skip" or not (bad := self.metrics.read()):
            return ""
        assert self.buffers is not None
        self.buffers.restore()
        return f"warning: {describe(bad[0], epoch, step + 1, self.loader)}; the step was passed over (on_nan=skip)"

    def count_roll_back(self, asked: RollBack, is_possible: bool) -> None:
        """Count a return to the last checkpoint. Raises TrainingDiverged where there is none, or no use in it."""
        self.roll_backs += 1
        if not is_possible or self.roll_backs > MOST_ROLL_BACKS:
            raise TrainingDiverged(f"{asked}, after going back {self.roll_backs - 1}×; {REMEDIES}")


def describe(bad: BadBatch, epoch: int, step: int, loader: Loader) -> str:
    """Return where it happened, and which samples the batch has. epoch: from 0; step: the update, from 1."""
    return f"the {bad.what} became {bad.value} at step {step} (epoch {epoch + 1}), with {samples(bad.batch, loader)}"


def samples(batch: int, loader: Loader) -> str:
    """Return where the samples of a batch of the present epoch lie."""
    indices = loader.batches.batch_indices(batch).indices.tolist()
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
