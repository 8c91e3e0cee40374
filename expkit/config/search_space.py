"""The space that a search draws its trials from: Hydra's interval(), choice() and range() as axes."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep, Sweep

from expkit.config.hydra_loader import Config
from expkit.core.errors import ConfigError, nearest


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
        """Return the values that are tried before the first trial: every choice, both ends of an interval."""
        number = int if self.kind == "int" else float
        return list(self.choices) or list(dict.fromkeys([str(number(self.low)), str(number(self.high))]))

    @property
    def count(self) -> int | None:
        """The number of values, None for infinitely many."""
        if self.choices:
            return len(self.choices)
        if self.low == self.high:
            return 1
        step = self.step or (1 if self.kind == "int" else None)
        return None if step is None else round((self.high - self.low) / step) + 1

    def at(self, place: int) -> Any:
        """Return the value with this number, of `count`."""
        if self.choices:
            return self.choices[place]
        value = self.low + place * (self.step or 1)
        return int(value) if self.kind == "int" else value

    @property
    def path(self) -> str:
        """The key's path in a config."""
        return self.key.lstrip("+")

    def of_whole_numbers(self) -> str:
        """Return what to type for the whole numbers of this axis, "" where it holds none."""
        low, high, step = math.ceil(self.low), math.floor(self.high), self.step
        if self.kind != "float" or low > high:
            return ""
        is_range = step is not None and step.is_integer() and low == self.low
        text = f"range({low},{high + 1},{int(step or 1)})" if is_range else f"int(interval({low},{high}))"
        return f"'{self.key}={f'tag(log,{text})' if self.log else text}'"


@dataclass(frozen=True)
class Space:
    """What a search may change, what every trial has, and the settings of `hydra/sweeper=search`.

    words: the overrides of the command line, in their order, by key; compose: makes a trial's config of its overrides,
    from the files as they were when the search began.
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
        """Return the overrides of a job for each value that is to be tried, the other keys at their first."""
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
    if override.is_delete():
        raise ConfigError(f"{key}: a deletion has no values to search; give {key.lstrip('~')}=… with the values")
    log = _is_log(key, override)
    if isinstance(value, IntervalSweep):
        return _numbers(_interval(key, override, value, log))
    if isinstance(value, RangeSweep):
        return _numbers(_range(key, value, log))
    assert isinstance(value, ChoiceSweep)
    refuse_nested(override)
    plain = replace(value, shuffle=False)  # in a search, order means nothing: as typed, so that a study is found again
    found: dict[object, str] = {}
    for one, text in zip(plain.list, replace(override, _value=plain).sweep_string_iterator(), strict=True):
        is_number = isinstance(one, int | float) and not isinstance(one, bool)
        found.setdefault(one if is_number else str(text), str(text))  # 0.1 and 1e-1 are one value
    return Axis(key, "choice", choices=tuple(found.values()))


def refuse_nested(override: Override) -> None:
    """Raise ConfigError for a list that holds interval() or range()."""
    value = override.value()
    if isinstance(value, ChoiceSweep) and any(isinstance(one, Sweep) for one in value.list):
        key = override.get_key_element()
        raise ConfigError(f"{key}: a list holds plain values, no interval() or range(); give one or the other")


def _is_log(key: str, override: Override) -> bool:
    """Return True for a logarithmic scale. Raises ConfigError for a tag that would have no effect."""
    value = override.value()
    tags = sorted(value.tags) if isinstance(value, Sweep) else []
    for one in tags:
        if one != "log":
            raise ConfigError(f"{key}: unknown tag '{one}'{nearest(one, ['log']) or '; the only one is log'}")
    text = re.sub(r"'[^']*'|\"[^\"]*\"", "", override.get_value_string())
    if "tag(" in text.replace(" ", "") and not tags:  # Hydra's casts of lists and ranges drop the tags within
        raise ConfigError(f"{key}: tag() stands outermost and with a name, e.g. tag(log,interval(1,9)); got {text}")
    if tags and isinstance(value, ChoiceSweep):
        raise ConfigError(f"{key}: a list has no scale; leave tag(log,…) out, or give interval() in place of the list")
    return bool(tags)


def _interval(key: str, override: Override, value: IntervalSweep, log: bool) -> Axis:
    low, high = value.start, value.end
    assert low is not None
    assert high is not None
    kind: Literal["float", "int"] = "int" if isinstance(low, int) else "float"  # int(interval(1,4)) has made it so
    typed = re.search(r"interval\(([^,()]+),([^,()]+)\)", override.get_value_string())
    if kind == "int" and typed and not all(_is_whole(end) for end in typed.groups()):
        raise ConfigError(f"{key}: int(interval()) takes integers as its ends, got {typed[1]} and {typed[2]}")
    return Axis(key, kind, low, high, log)


def _is_whole(text: str) -> bool:
    try:
        return float(text.partition("=")[2] or text).is_integer()
    except ValueError:
        return False


def _range(key: str, value: RangeSweep, log: bool) -> Axis:
    """Return the axis of a range. Its values are counted, not listed: there may be a billion."""
    numbers = [Decimal(str(one)) for one in (value.start, value.stop, value.step)]
    if not all(map(Decimal.is_finite, numbers)) or not numbers[2]:
        raise ConfigError(f"{key}: a range has finite ends and a step other than 0")
    start, stop, step = numbers
    count = math.ceil((stop - start) / step)
    if count < 1:
        raise ConfigError(f"{key}: the range holds no value; give range(START,STOP) with STOP above START")
    low, high = sorted((start, start + (count - 1) * step))
    if isinstance(value.range(), range):
        axis = Axis(key, "int", int(low), int(high), log, int(abs(step)))
    else:
        axis = Axis(key, "float", float(low), float(high), log, float(abs(step)))
    if not log:
        return axis
    _numbers(axis)
    if axis.kind == "int" and axis.step == 1:
        return replace(axis, step=None)
    remedy = f"write tag(log,{'int(' * (axis.kind == 'int')}interval({low:f},{high:f}){')' * (axis.kind == 'int')})"
    raise ConfigError(f"{key}: on a logarithmic scale a range has a step of 1; {remedy}")


def _numbers(axis: Axis) -> Axis:
    if not (math.isfinite(axis.low) and math.isfinite(axis.high) and axis.low <= axis.high):
        raise ConfigError(f"{axis.key}: an interval goes from the smaller to the greater end, both finite")
    if axis.log and axis.low <= 0:
        raise ConfigError(f"{axis.key}: on a logarithmic scale the lower end is above 0, got {axis.low:g}")
    return axis
