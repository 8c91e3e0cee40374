"""A few training steps with a learning rate that grows from one to the next (Smith 2017, arXiv 1506.01186)."""

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
    with bar("steps", steps) as advance:
        test = _RangeTest([lowest * (highest / lowest) ** (step / (steps - 1)) for step in range(steps)], advance)
        job = build(_bare(config), Origin(), hooks=[test])
        try:
            _train(job.trainer, test)
        finally:
            job.close()
    if not test.found.rates:
        raise ConfigError("find_lr: the very first loss is no finite number; look at the data and the model")
    return test.found


def _bare(config: Config) -> Config:
    """Return the config without what does more than train: of checkpoints only the weights to begin with stay."""
    kept = {key: value for key, value in config["checkpoint"].items() if key in ("name", "init_from")}
    none = {"ema_decay": None, "swa_from": None, "early_stopping_patience": None, "log_every": 10**9}
    rate: dict[str, Any] = {"schedule": {"name": "constant"}, "checkpoint": kept, "watch": {}, "logger": {}}
    return {**config, **none, **rate, "on_nan": "stop"}


class _RangeTest:
    """Sets the next rate after each update and notes its loss, until all were tried or higher ones are not worth it."""

    def __init__(self, rates: list[float], advance: Callable[[int], None]) -> None:
        self.rates, self.advance, self.found = rates, advance, Sweep()
        self.shares: list[float] = []  # of the parameter groups in the common rate

    def start(self, trainer: Trainer) -> None:
        """Set the first rate; groups of their own, and those of layer_decay, stay in proportion to optimizer.lr."""
        groups = trainer.state.optimizer.param_groups
        common = trainer.state.facts["config"]["optimizer"].get("lr", groups[0]["lr"])
        self.shares = [group["lr"] / common for group in groups]
        self._set_rate(trainer, 0)

    def after_step(self, trainer: Trainer) -> None:
        metrics, step = trainer.state.metrics, trainer.state.position.step
        if metrics.count:  # else none of the update's files can be read
            self.found.add(self.rates[step - 1], metrics.interval()["loss"])
        self.advance(1)
        if self.found.diverged:
            trainer.stop_at(step)
        elif step < len(self.rates):
            self._set_rate(trainer, step)

    def _set_rate(self, trainer: Trainer, step: int) -> None:
        for group, share in zip(trainer.state.optimizer.param_groups, self.shares, strict=True):
            group["lr"] = self.rates[step] * share


def _train(trainer: Trainer, test: _RangeTest) -> None:
    """Train, epoch after epoch and without their evaluations, until the test is over."""
    test.start(trainer)
    trainer.stop_at(len(test.rates))
    try:
        while not trainer.is_over:
            trainer.train_epoch()
            trainer.state.position.next_epoch()
    except TrainingDiverged:  # by a gradient that is no finite number, after a loss that is one
        test.found.diverged = True
