"""The learning rate range test: a few steps with growing rates (Smith 2017, arXiv 1506.01186)."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from expkit.core.errors import ConfigError
from expkit.core.progress import bar
from expkit.runs.build import build
from expkit.runs.resume import Origin
from expkit.training.non_finite import TrainingDiverged
from expkit.training.trainer import Trainer

Config = Mapping[str, Any]

SMOOTHING = 0.9  # weight of the previous running mean at each step
DIVERGED_AT = 4.0  # times the lowest smoothed loss, as in Smith's and fastai's finders
_LEARNED = 0.98  # of the first loss: nothing was learned if the lowest loss is above it


@dataclass
class RangeTest:
    """The rates in order, the loss of each step, and its running mean (exponential, bias-corrected)."""

    rates: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    smooth: list[float] = field(default_factory=list)
    diverged: bool = False
    _mean: float = 0.0

    def add(self, rate: float, loss: float) -> None:
        """Add a step, and set `diverged` if larger rates are useless."""
        if not math.isfinite(loss):
            self.diverged = True
            return
        self._mean = SMOOTHING * self._mean + (1 - SMOOTHING) * loss
        self.rates.append(rate)
        self.losses.append(loss)
        self.smooth.append(self._mean / (1 - SMOOTHING ** len(self.rates)))
        self.diverged = len(self.rates) > 10 and self.smooth[-1] > DIVERGED_AT * min(self.smooth)

    @property
    def went_up(self) -> bool:
        """Whether the loss rises again after its minimum, by at least a tenth of its fall."""
        lowest = min(self.smooth)
        return self.diverged or self.smooth[-1] - lowest > 0.1 * (self.smooth[0] - lowest) > 0

    @property
    def lowest(self) -> int:
        """The step of the lowest running mean."""
        return self.smooth.index(min(self.smooth))

    @property
    def suggestion(self) -> float | None:
        """The rate to train with: the middle of the longest fall of the loss; None if nothing was learned.

        fastai's rule `valley`: the middle of the longest decreasing subsequence, where the fall is steep.
        """
        if len(self.rates) < 3 or self.smooth[self.lowest] > _LEARNED * self.smooth[0]:
            return None
        lengths = [1] * (self.lowest + 1)
        for step in range(1, len(lengths)):
            before = [lengths[one] for one in range(step) if self.smooth[one] > self.smooth[step]]
            lengths[step] = 1 + max(before, default=0)
        end = lengths.index(max(lengths))
        return self.rates[end - lengths[end] // 2]


def run_range_test(config: Config, lowest: float, highest: float, steps: int) -> RangeTest:
    """Train a config for some steps with rates from `lowest` to `highest`, evenly spaced on a logarithmic scale.

    Uses the first batches and the initial model of a run of this config, and writes nothing. Raises ConfigError.
    """
    if not 0 < lowest < highest or steps < 10:
        raise ConfigError("find_lr: expected 0 < --lowest < --highest, and --steps from 10 up")
    with bar("steps", steps) as advance:
        hook = _SetRates([lowest * (highest / lowest) ** (step / (steps - 1)) for step in range(steps)], advance)
        job = build(_training_only(config), Origin(), hooks=[hook])
        try:
            _train(job.trainer, hook)
        finally:
            job.close()
    if not hook.test.rates:
        raise ConfigError("find_lr: the first loss is not finite; check the data and the model")
    return hook.test


def _training_only(config: Config) -> Config:
    """Return the config with training alone; of checkpoints only the initial weights stay."""
    kept = {key: value for key, value in config["checkpoint"].items() if key in ("name", "init_from")}
    none = {"ema_decay": None, "swa_from": None, "early_stopping_patience": None, "log_every": 10**9}
    rate: dict[str, Any] = {"schedule": {"name": "constant"}, "checkpoint": kept}
    rate |= {group: {} for group in ("watch", "metric", "logger")}
    return {**config, **none, **rate, "on_nan": "stop"}


class _SetRates:
    """A hook that records the loss and sets the next rate after each step, until the loss diverges."""

    def __init__(self, rates: list[float], advance: Callable[[int], None]) -> None:
        self.rates, self.advance, self.test = rates, advance, RangeTest()
        self.factors: list[float] = []  # of the parameter groups, relative to the common rate

    def start(self, trainer: Trainer) -> None:
        """Set the first rate; parameter groups keep their ratios to optimizer.lr."""
        groups = trainer.state.optimizer.param_groups
        common = trainer.state.facts["config"]["optimizer"].get("lr", groups[0]["lr"])
        self.factors = [group["lr"] / common for group in groups]
        self._set_rate(trainer, 0)

    def after_step(self, trainer: Trainer) -> None:
        metrics, step = trainer.state.metrics, trainer.state.position.step
        if metrics.count:  # else none of the step's files could be read
            self.test.add(self.rates[step - 1], metrics.interval()["loss"])
        self.advance(1)
        if self.test.diverged:
            trainer.stop_at(step)
        elif step < len(self.rates):
            self._set_rate(trainer, step)

    def _set_rate(self, trainer: Trainer, step: int) -> None:
        for group, factor in zip(trainer.state.optimizer.param_groups, self.factors, strict=True):
            group["lr"] = self.rates[step] * factor


def _train(trainer: Trainer, hook: _SetRates) -> None:
    """Train epoch by epoch, without evaluation, until the test is over."""
    hook.start(trainer)
    trainer.stop_at(len(hook.rates))
    try:
        while not trainer.is_over:
            trainer.train_epoch()
            trainer.state.position.next_epoch()
    except TrainingDiverged:  # a gradient was not finite, after a finite loss
        hook.test.diverged = True
