"""Learning-rate schedules by name: a factor on each group's rate, and a warm-up before it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from torch.optim import Optimizer, lr_scheduler

from expkit.config.registry import schedules
from expkit.core.errors import ConfigError
from expkit.core.formatting import count_noun

Factor = Callable[[float], float]  # progress through the schedule, 0..1 -> what the rate is multiplied by


@schedules.share
@dataclass(frozen=True)
class ScheduleOptions:
    """Options of every schedule.

    unit: when the rate moves, after each "step" or "epoch", and what its options count; null: the schedule's habit
    (our own, OneCycleLR and CyclicLR: step, torch's other classes: epoch).
    warmup_steps, warmup_epochs: a linear rise before it (give one of them), from warmup_start times
    the rate; warmup_unit: whether it rises after each "step" or each "epoch".
    """

    unit: Literal["step", "epoch"] | None = None
    warmup_steps: int = 0
    warmup_epochs: float = 0.0
    warmup_start: float = 0.01
    warmup_unit: Literal["step", "epoch"] = "step"


@schedules.register("constant")
def constant() -> Factor:
    """The same rate throughout."""
    return lambda progress: 1.0


@schedules.register("cosine")
def cosine(final_factor: float = 0.0) -> Factor:
    """Half a cosine from the rate down to final_factor times it (Loshchilov & Hutter 2017, without restarts)."""
    return lambda progress: final_factor + (1 - final_factor) * (1 + math.cos(math.pi * progress)) / 2


@schedules.register("linear")
def linear(final_factor: float = 0.0) -> Factor:
    """A straight line from the rate down to final_factor times it."""
    return lambda progress: 1 + (final_factor - 1) * progress


@schedules.register("step")
def step(milestones: list[float], gamma: float = 0.1) -> Factor:
    """Multiply the rate by gamma at each milestone, given as a share of the run, e.g. [0.5, 0.75]."""
    if not milestones or any(not 0 < milestone < 1 for milestone in milestones):
        raise ConfigError(f"schedule.milestones: takes shares of the run between 0 and 1, got {milestones}")
    return lambda progress: gamma ** sum(progress >= milestone for milestone in milestones)


@schedules.register("one_cycle")
def one_cycle(pct_start: float = 0.3, div_factor: float = 25.0, final_div_factor: float = 1e4) -> Factor:
    """Up to the optimizer's rate and down again (Smith & Topin 2018); the factors are those of torch's OneCycleLR."""
    if not 0 < pct_start < 1:
        raise ConfigError(f"schedule.pct_start: takes a number between 0 and 1, got {pct_start}")
    start = 1 / div_factor

    def factor(progress: float) -> float:
        if progress <= pct_start:
            return _anneal(start, 1.0, progress / pct_start)
        return _anneal(1.0, start / final_div_factor, (progress - pct_start) / (1 - pct_start))

    return factor


def _anneal(first: float, last: float, progress: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * progress)) / 2


# torch's own by class name. Left out: LambdaLR and MultiplicativeLR take code, SequentialLR and ChainedScheduler take
# objects; ReduceLROnPlateau is in, and gets the monitored score after each epoch.
_TORCH = (
    "StepLR", "MultiStepLR", "ConstantLR", "LinearLR", "ExponentialLR", "PolynomialLR", "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts", "CyclicLR", "OneCycleLR", "ReduceLROnPlateau",
)  # fmt: skip
_EVERY_STEP = ("CyclicLR", "OneCycleLR")  # torch's documentation steps these after each batch, all others by epoch
_LENGTHS = ("total_steps", "_schedule_phases")  # in the state of torch's OneCycleLR: those of the run as it was
for _name in _TORCH:
    _class = getattr(lr_scheduler, _name)
    schedules.add(_name, _class, "torch", _class)


class WarmUp(NamedTuple):
    """A linear rise from `start` times the rate over so many steps; every: steps between changes."""

    steps: int = 0
    start: float = 0.01
    every: int = 1

    def factor_at(self, step: int) -> float:
        """Return the factor that the update number `step` (from 0), one of the warm-up, is done with."""
        return self.start + (1 - self.start) * (step // self.every * self.every) / self.steps


class Schedule(Protocol):
    """What the trainer asks of a schedule; warmup: how the rate rises first; notes: what its user should know."""

    warmup: WarmUp
    notes: list[str]

    def after_step(self) -> None: ...

    def after_epoch(self, score: float) -> None: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class FactorSchedule:
    """A rate in closed form: a pure function of the step, so that resuming at any step is exact.

    factor: progress 0..1 -> factor; total: steps in the run; warmup: how the rate rises first;
    every: steps between changes (1, or an epoch's).
    """

    def __init__(self, optimizer: Optimizer, factor: Factor, total: int, warmup: WarmUp, every: int = 1) -> None:
        self.optimizer, self.factor, self.warmup, self.every = optimizer, factor, warmup, every
        self.notes: list[str] = []
        # The last update is number total - 1: it sees progress 1, as in torch's OneCycleLR. By epochs the last one sees
        # less, and 1 is where the next would begin, as in torch's CosineAnnealingLR with T_max epochs.
        self.length = max(total - warmup.steps - (every == 1), 1)
        self.rates = [group["lr"] for group in optimizer.param_groups]
        self.step = 0
        self._applied: float | None = None
        self._apply()

    def after_step(self) -> None:
        self.step += 1
        self._apply()

    def after_epoch(self, score: float) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self._applied = None  # the optimizer's groups have just been restored too
        self._apply()

    def _apply(self) -> None:
        factor = self.factor_at(self.step)
        if factor == self._applied:  # most steps of many schedules: nothing to write
            return
        self._applied = factor
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor

    def factor_at(self, step: int) -> float:
        """Return the factor that the update number `step` (from 0) is done with."""
        if step < self.warmup.steps:
            return self.warmup.factor_at(step)
        step = (step - self.warmup.steps) // self.every * self.every
        return self.factor(min(step / self.length, 1.0))


class TorchSchedule:
    """One of torch's schedulers, stepped after each step or each epoch, with an optional warm-up before it."""

    def __init__(self, scheduler: lr_scheduler.LRScheduler, optimizer: Optimizer, unit: str, warmup: WarmUp) -> None:
        self.scheduler, self.optimizer, self.unit, self.warmup = scheduler, optimizer, unit, warmup
        self.notes: list[str] = []
        self.step = 0
        self.rates = [group["lr"] for group in optimizer.param_groups]
        self._warm()

    def after_step(self) -> None:
        self.step += 1
        if self.step <= self.warmup.steps:
            self._warm()
        elif self.unit == "step" and not isinstance(self.scheduler, lr_scheduler.ReduceLROnPlateau):
            self._advance()

    def after_epoch(self, score: float) -> None:
        if self.step <= self.warmup.steps:
            return
        if isinstance(self.scheduler, lr_scheduler.ReduceLROnPlateau):
            self.scheduler.step(score)
        elif self.unit == "epoch":
            self._advance()

    def _advance(self) -> None:
        if not self._is_at_its_end(self.scheduler.last_epoch):
            self.scheduler.step()

    def _is_at_its_end(self, position: int, length: int | None = None) -> bool:
        """Return whether a scheduler of fixed length gives its last rate: torch's OneCycleLR would rise again."""
        length = length or getattr(self.scheduler, "total_steps", None)
        return length is not None and position >= length - 1

    def state_dict(self) -> dict[str, Any]:
        plain = {key: value for key, value in self.scheduler.state_dict().items() if not callable(value)}
        return {"step": self.step, "scheduler": plain}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        scheduler = dict(state["scheduler"])
        if self._was_by_epoch(scheduler):
            self.unit = "epoch"
        elif type(self.scheduler).__name__ in _EVERY_STEP:  # the run may be longer now: its new length counts
            scheduler = {key: value for key, value in scheduler.items() if key not in _LENGTHS}
        self.scheduler.load_state_dict(scheduler)
        if self.unit == "step" and self._is_at_its_end(scheduler["last_epoch"], state["scheduler"].get("total_steps")):
            self._advance()

    def _was_by_epoch(self, state: Mapping[str, Any]) -> bool:
        """Return whether a state is of a run that moved after each epoch what is moved after each step now.

        expkit 0.1 did so with OneCycleLR and CyclicLR; such a run ends as it began.
        """
        position, steps = state["last_epoch"], max(self.step - self.warmup.steps, 0)
        if self.unit == "epoch" or type(self.scheduler).__name__ not in _EVERY_STEP or position == steps:
            return False
        return not (position == steps - 1 and self._is_at_its_end(position, state.get("total_steps")))

    def _warm(self) -> None:
        if self.warmup.steps:
            factor = self.warmup.factor_at(self.step) if self.step < self.warmup.steps else 1.0
            for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = rate * factor


def build_schedule(node: Mapping[str, Any], optimizer: Optimizer, steps_per_epoch: int, total_steps: int) -> Schedule:
    """Build the schedule of a checked node for a run of so many steps. Raises ConfigError."""
    options: ScheduleOptions = schedules.shared(node)
    every = {"step": 1, "epoch": steps_per_epoch}
    steps = _warmup_steps(options, steps_per_epoch, total_steps)
    warmup = WarmUp(steps, options.warmup_start, every[options.warmup_unit])
    unit = options.unit or _habit(node["name"])
    own_rates = {group["lr"] for group in optimizer.param_groups}
    length = _length(unit, steps, steps_per_epoch, total_steps)
    built = schedules.build(node, optimizer=optimizer, total_steps=length)
    if isinstance(built, lr_scheduler.LRScheduler):
        if options.unit is None and not _counts_steps(node["name"]):
            unit = "epoch"  # a plugin's factory that gives one of torch's, too
        schedule = TorchSchedule(built, optimizer, unit, warmup)
        if node["name"] in _EVERY_STEP and len({group["lr"] for group in optimizer.param_groups}) < len(own_rates):
            schedule.notes.append(_LEVELLED.format(node["name"]))
        return schedule
    return FactorSchedule(optimizer, built, total_steps, warmup, every[unit])


_LEVELLED = (
    "note: {} sets every parameter group to the same rates, whatever optimizer.layer_decay or optimizer.groups say;"
    " schedule=one_cycle keeps their proportions"
)


def _habit(name: str) -> Literal["step", "epoch"]:
    return "epoch" if name in _TORCH and name not in _EVERY_STEP else "step"


def _counts_steps(name: str) -> bool:
    """Return whether a scheduler's length is one of steps: of torch's own, or because its factory asks for it."""
    return name in _EVERY_STEP or (name not in _TORCH and "total_steps" in schedules.entry(name).options())


def _length(unit: str, warmup_steps: int, steps_per_epoch: int, total_steps: int) -> int:
    """Return how many rates a scheduler gives after the warm-up, of which the last update or epoch sees the last."""
    if unit == "step":
        return total_steps - warmup_steps
    return math.ceil(total_steps / steps_per_epoch) - warmup_steps // steps_per_epoch


def plateau_notes(schedule: Schedule, monitor: str, higher_is_better: bool) -> list[str]:
    """Return a note where ReduceLROnPlateau takes a better score for a worse one: its mode is min unless it is set."""
    scheduler = schedule.scheduler if isinstance(schedule, TorchSchedule) else None
    mode = "max" if higher_is_better else "min"
    if not isinstance(scheduler, lr_scheduler.ReduceLROnPlateau) or scheduler.mode == mode:
        return []
    better = "higher" if higher_is_better else "lower"
    return [
        f"warning: schedule.mode: ReduceLROnPlateau lowers the rate while {monitor} improves, since {better} is better;"
        f" set ++schedule.mode={mode}"
    ]


def _warmup_steps(options: ScheduleOptions, steps_per_epoch: int, total_steps: int) -> int:
    if options.warmup_steps and options.warmup_epochs:
        raise ConfigError("schedule.warmup_steps: give either warmup_steps or warmup_epochs, not both")
    key = "warmup_epochs" if options.warmup_epochs else "warmup_steps"
    if options.warmup_steps < 0 or options.warmup_epochs < 0:
        raise ConfigError(f"schedule.{key}: takes a number from 0 up")
    warmup = options.warmup_steps or round(options.warmup_epochs * steps_per_epoch)
    if warmup and warmup >= total_steps:
        problem = f"{count_noun(warmup, 'step')} of warm-up do not fit in a run of {total_steps}"
        raise ConfigError(f"schedule.{key}: {problem}; lower it, or train for more epochs")
    return warmup
