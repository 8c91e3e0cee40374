"""The space that a search draws its trials from: Hydra's interval(), choice() and range(), in plain words."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from expkit.composing import Config
from expkit.registry import ConfigError


@dataclass(frozen=True)
class Axis:
    """One key and the values it may have. kind: float or int within low and high, both included, or one of choices.

    choices: as they are typed; log: drawn evenly on a logarithmic scale; step: between two values, None for any.
    """

    key: str
    kind: Literal["float", "int", "choice"]
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    choices: tuple[str, ...] = ()

    def probes(self) -> list[str]:
        """Return the values that are tried out before the first trial: every choice, both ends of an interval."""
        number = int if self.kind == "int" else float
        return list(self.choices) or list(dict.fromkeys([str(number(self.low)), str(number(self.high))]))


@dataclass(frozen=True)
class Space:
    """What a search may change, what every trial has, and the settings of `hydra/sweeper=search`.

    words: of the command line, in their order, by key; compose: makes a trial's config of its words, from the files as
    they were when the search began.
    """

    axes: tuple[Axis, ...]
    words: dict[str, str]
    settings: Mapping[str, Any]
    compose: Callable[[list[str]], Config]

    def trial(self, values: Mapping[str, Any]) -> list[str]:
        """Return the overrides of a trial. values: by key, numbers or choices."""
        drawn = {key: f"{key}={value}" for key, value in values.items()}
        return [drawn.get(key, word) for key, word in self.words.items()]

    def probes(self) -> list[list[str]]:
        """Return the overrides of a job for each value that is to be tried out, the other keys at their first."""
        first = {axis.key: axis.probes()[0] for axis in self.axes}
        others = [{axis.key: value} for axis in self.axes for value in axis.probes()[1:]]
        return [self.trial(first | one) for one in [{}, *others]]


def space_of(
    overrides: Sequence[Override], settings: Mapping[str, Any], compose: Callable[[list[str]], Config]
) -> Space:
    """Return the space that a command line describes. Raises ConfigError where there is nothing to search."""
    overrides = [one for one in overrides if not one.key_or_group.startswith("hydra")]  # they say how to run it
    words = {one.get_key_element(): one.input_line or "" for one in overrides}
    axes = {one.get_key_element(): axis_of(one) for one in overrides if one.is_sweep_override()}
    if not axes:
        raise ConfigError(
            "hydra/sweeper=search: nothing is to be searched; give e.g. 'optimizer.lr=tag(log,interval(1e-4,1e-1))'"
            " or model=small_resnet,small_cnn"
        )
    return Space(tuple(axes.values()), words, settings, compose)


def axis_of(override: Override) -> Axis:
    """Return the axis that an override of several values is. Raises ConfigError."""
    key, value = override.get_key_element(), override.value()
    log = "log" in getattr(value, "tags", ())
    if isinstance(value, IntervalSweep):
        low, high = value.start, value.end
        assert low is not None
        assert high is not None
        kind: Literal["float", "int"] = "int" if isinstance(low, int) else "float"  # int(interval(1,4)) has made it so
        return _numbers(Axis(key, kind, low, high, log))
    if isinstance(value, RangeSweep):
        values = [one for one in override.sweep_iterator() if isinstance(one, int | float)]
        if not values:
            raise ConfigError(f"{key}: the range holds no value; give range(START,STOP) with STOP above START")
        kind = "int" if all(isinstance(one, int) for one in values) else "float"
        step = None if log else abs(float(value.step))
        return _numbers(Axis(key, kind, min(values), max(values), log, step))
    return Axis(key, "choice", choices=tuple(dict.fromkeys(map(str, override.sweep_string_iterator()))))


def _numbers(axis: Axis) -> Axis:
    if not (math.isfinite(axis.low) and math.isfinite(axis.high) and axis.low <= axis.high):
        raise ConfigError(f"{axis.key}: an interval goes from the smaller to the greater end, both finite")
    if axis.log and axis.low <= 0:
        raise ConfigError(f"{axis.key}: on a logarithmic scale the lower end is above 0, got {axis.low:g}")
    return axis
