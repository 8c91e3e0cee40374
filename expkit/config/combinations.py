"""The values of a sweep: those of each key, and how they combine: all combinations, pairs, exclusions."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep, ValueType

from expkit.config.compose import choices_of
from expkit.config.search_space import refuse_nested
from expkit.core.errors import ConfigError, nearest

MOST_JOBS = 10_000  # of a sweep


class _Groups:
    """Gives Hydra the choices of a group when it reads glob()."""

    def get_group_options(self, group: str, **wanted: Any) -> list[str]:
        return choices_of(group)


def parsed_overrides(words: list[str]) -> list[Override]:
    """Return overrides as Hydra reads them, glob() as the list of the choices that it matches. Raises ConfigError."""
    found = OverridesParser.create(cast("ConfigLoader", _Groups())).parse_overrides(words)
    return [_without_glob(one) for one in found]


def _without_glob(override: Override) -> Override:
    if override.value_type != ValueType.GLOB_CHOICE_SWEEP:
        return override
    key, choices = override.get_key_element(), list(override.sweep_iterator())
    if not choices:
        there = ", ".join(choices_of(override.key_or_group))
        what = f"there is {there}" if there else "it is no group"
        raise ConfigError(f"{key}: {override.get_value_string()} matches no choice of conf/{key.lstrip('+')}; {what}")
    return replace(override, value_type=ValueType.CHOICE_SWEEP, _value=ChoiceSweep(list=[*choices]))


def axes_of(overrides: list[Override]) -> dict[str, list[str]]:
    """Return the values of every key, as the overrides that set them; a later one replaces an earlier one."""
    total = math.prod(_choices_of(override) for override in overrides)
    axes: dict[str, list[str]] = {}
    for override in overrides:
        key = override.get_key_element()
        if not override.is_sweep_override():
            axes[key] = [override.input_line or ""] if override.is_delete() else [
                f"{key}={override.get_value_element_as_str()}"
            ]  # fmt: skip
            continue
        refuse_nested(override)
        if not override.is_discrete_sweep():
            message = f"{key}: takes lists, choice() and range(); an interval is searched by hydra/sweeper=search"
            raise ConfigError(message)
        if isinstance(value := override.value(), RangeSweep) and not value.step:
            raise ConfigError(f"{key}: a range needs a step other than 0")
        if total > 1_000 * MOST_JOBS:  # zip and exclude may leave few of many, and yet nobody means as many as that
            raise ConfigError(f"sweep: stands for more than {MOST_JOBS:,} jobs; sweep over fewer values")
        axes[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
        if not axes[key]:
            raise ConfigError(f"{key}: the range holds no value; give range(START,STOP) with STOP above START")
    return axes


def _choices_of(override: Override) -> int:
    value = override.value() if override.is_discrete_sweep() else None
    if isinstance(value, RangeSweep) and value.start is not None and value.stop is not None:
        return max(math.ceil((value.stop - value.start) / value.step), 1) if value.step else MOST_JOBS**2
    return len(value.list) if isinstance(value, ChoiceSweep) else 1


def first_of(axes: Mapping[str, list[str]]) -> list[str]:
    return [values[0] for values in axes.values()]


def combined(axes: dict[str, list[str]], ours: Mapping[str, Any]) -> list[list[str]]:
    """Return the overrides of every job, those excluded left out. Raises ConfigError where they are too many."""
    pairs = _pairs(ours.get("sweep.zip", []))
    if unknown := [one for pair in pairs for one in pair if one not in axes]:
        raise ConfigError(f"sweep.zip: {unknown[0]} is not swept over; give its values, {unknown[0]}=…,…")
    bundles: list[list[tuple[str, ...]]] = []
    for key in axes:
        pair = next((pair for pair in pairs if key in pair), [key])
        if len({len(axes[one]) for one in pair}) > 1:
            counts = ", ".join(f"{one} {len(axes[one])}" for one in pair)
            raise ConfigError(f"sweep.zip: expected equally many values of each key, got {counts}")
        if key == min(pair, key=list(axes).index):
            bundles.append(list(zip(*(axes[one] for one in pair), strict=True)))
    if math.prod(map(len, bundles)) > (MOST_JOBS if "sweep.exclude" not in ours else 100 * MOST_JOBS):
        raise ConfigError(f"sweep: stands for more than {MOST_JOBS:,} jobs; sweep over fewer values")
    excluded = _exclusions(ours.get("sweep.exclude", []), axes)
    jobs = []
    for bundle in itertools.product(*bundles):
        job = [word for words in bundle for word in words]
        if not any(rule <= set(job) for rule in excluded):
            jobs.append(sorted(job, key=lambda word: list(axes).index(word.partition("=")[0])) if pairs else job)
    if not jobs:
        raise ConfigError("sweep.exclude: leaves no job; exclude fewer")
    return jobs


def _pairs(given: Any) -> list[list[str]]:
    """Return the groups of keys whose values go together: [a,b], or [[a,b],[c,d]]."""
    groups = given if isinstance(given, list) and given and isinstance(given[0], list) else [given] if given else []
    if any(not isinstance(group, list) or len(group) < 2 for group in groups):
        raise ConfigError(f"sweep.zip: expected a list of two keys or more, e.g. [model,optimizer.lr], got {given!r}")
    return [[str(key) for key in group] for group in groups]


def _exclusions(given: Any, axes: Mapping[str, list[str]]) -> list[set[str]]:
    """Return the sets of overrides that no job may hold together."""
    rules = []
    for rule in given if isinstance(given, list) else [given]:
        if not isinstance(rule, Mapping) or not rule:
            example = "[{model:vgg16,optimizer.lr:0.1}]"
            raise ConfigError(f"sweep.exclude: expected a list of mappings, e.g. {example}, got {rule!r}")
        words = {f"{key}={Override._get_value_element_as_str(value)}" for key, value in rule.items()}
        for word in words:
            key = word.partition("=")[0]
            if word not in axes.get(key, []):
                raise ConfigError(f"sweep.exclude: no job has {word}{nearest(word, axes.get(key, []))}")
        rules.append(words)
    return rules
