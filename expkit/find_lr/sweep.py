"""A few training steps with a learning rate that grows from one to the next (Smith 2017, arXiv 1506.01186)."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from expkit.assembly import Job, assemble
from expkit.data.samples import Batch
from expkit.keys import key
from expkit.models import training_mode
from expkit.progress import bar
from expkit.registry import ConfigError
from expkit.resuming import Origin
from expkit.training.divergence import gradient_norm
from expkit.training.optimizers import build_optimizer
from expkit.training.runner import Runner

Config = Mapping[str, Any]

SMOOTHING = 0.9  # share of the running mean that stays at each step
GIVES_UP_AT = 4.0  # times the lowest smoothed loss, as in Smith's and fastai's finders
_LEARNED = 0.98  # of the first loss: a lowest one above it has learned nothing


@dataclass
class Sweep:
    """The rates tried, in order, the loss of each step, and its running mean (exponential, bias-corrected)."""

    rates: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    smooth: list[float] = field(default_factory=list)
    diverged: bool = False
    _mean: float = 0.0

    def add(self, rate: float, loss: float) -> None:
        """Add a step; `diverged` tells from then on whether larger rates are worth a try."""
        if not math.isfinite(loss):
            self.diverged = True
            return
        self._mean = SMOOTHING * self._mean + (1 - SMOOTHING) * loss
        self.rates.append(rate)
        self.losses.append(loss)
        self.smooth.append(self._mean / (1 - SMOOTHING ** len(self.rates)))
        self.diverged = len(self.rates) > 10 and self.smooth[-1] > GIVES_UP_AT * min(self.smooth)

    @property
    def went_up(self) -> bool:
        """Whether the loss rises again behind its lowest place, by a tenth of its fall at least."""
        lowest = min(self.smooth)
        return self.diverged or self.smooth[-1] - lowest > 0.1 * (self.smooth[0] - lowest) > 0

    @property
    def lowest(self) -> int:
        """The step with the lowest running mean."""
        return self.smooth.index(min(self.smooth))

    @property
    def suggestion(self) -> float | None:
        """The rate to train with, None where nothing was learned: the middle of the longest fall of the loss.

        The rule `valley` of fastai: of the longest series of steps of which each has a lower loss than the one before,
        the middle one, where the fall is steep.
        """
        if len(self.rates) < 3 or self.smooth[self.lowest] > _LEARNED * self.smooth[0]:
            return None
        lengths = [1] * (self.lowest + 1)
        for step in range(1, len(lengths)):
            before = [lengths[one] for one in range(step) if self.smooth[one] > self.smooth[step]]
            lengths[step] = 1 + max(before, default=0)
        end = lengths.index(max(lengths))
        return self.rates[end - lengths[end] // 2]


def sweep_rates(config: Config, lowest: float, highest: float, steps: int) -> Sweep:
    """Train a config for so many steps with rates from `lowest` to `highest`, evenly spaced by their logarithm.

    The model and the batches are those with which a run of this config begins; nothing is written. Raises ConfigError.
    """
    if not 0 < lowest < highest or steps < 10:
        raise ConfigError("find_lr: takes 0 < --lowest < --highest, and --steps from 10 up")
    checkpoint = {key: value for key, value in config["checkpoint"].items() if key != "resume"}
    config = {**config, "checkpoint": checkpoint, "watch": {}, "logger": {}, "on_nan": "stop"}
    job = assemble(config, Origin())
    found = Sweep()
    try:
        with bar("steps", steps) as advance:
            _train(job, found, [lowest * (highest / lowest) ** (step / (steps - 1)) for step in range(steps)], advance)
    finally:
        job.close()
    if not found.rates:
        raise ConfigError("find_lr: the very first loss is no finite number; look at the data and the model")
    return found


def _train(job: Job, found: Sweep, rates: list[float], advance: Callable[[int], None]) -> None:
    runner, parts, options = job.runner, job.parts, job.options
    parts.optimizer = build_optimizer(job.config["optimizer"], parts.model)  # the schedule has moved the other's rates
    shares, step = _shares(job), 0
    if parts.unfreezing:
        parts.unfreezing.before_epoch(0)
    training_mode(parts.model)
    for batch, window, is_last in _batches(runner):
        if len(batch.indices):
            runner.forward_backward(batch, key(options.seed, "step", runner.epoch, runner.batch), window)
        if not is_last:
            continue
        for group, share in zip(parts.optimizer.param_groups, shares, strict=True):
            group["lr"] = rates[step] * share
        gradient_norm(parts.model, options.clip_grad_norm)
        parts.optimizer.step()
        parts.optimizer.zero_grad(set_to_none=True)
        found.add(rates[step], parts.train_metrics.interval()["loss"])
        step += 1
        advance(1)
        if found.diverged or step == len(rates):
            return


def _shares(job: Job) -> list[float]:
    """Return each group's rate as a share of optimizer.lr: groups of their own, and layer_decay, stay in proportion."""
    groups = job.parts.optimizer.param_groups
    common = job.config["optimizer"].get("lr", groups[0]["lr"])
    return [group["lr"] / common for group in groups]


def _batches(runner: Runner) -> Iterator[tuple[Batch, int, bool]]:
    """Yield (batch, how many make up its update, whether it is the last of them), through as many epochs as needed."""
    every = runner.options.accumulate_steps
    while True:
        numbers = range(runner.batches)
        for number, batch in zip(numbers, runner.parts.train.epoch(runner.epoch), strict=False):
            runner.batch = number
            window = min(every, runner.batches - number // every * every)
            yield batch, window, (number + 1) % every == 0 or number + 1 == runner.batches
        runner.epoch += 1
