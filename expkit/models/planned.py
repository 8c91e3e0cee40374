"""Compute a model's size without allocating it: a config may come from an untrusted source."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from expkit.core.errors import ConfigError

_LARGEST = 65_536  # allowed number in a model's options
_SUSPICIOUS = 64  # if no number is above it, no model is too large


def planned_numbers(node: Mapping[str, Any], build: Callable[[], nn.Module]) -> int | None:
    """Return the size of a model's state in numbers, None if its options are too small to matter.

    build: called on the meta device. Raises ConfigError for absurdly large options.
    """
    numbers = dict(_numbers("model", node))
    if large := [key for key, value in numbers.items() if abs(value) > _LARGEST]:
        raise ConfigError(f"{large[0]}: is {numbers[large[0]]:g}, more than {_LARGEST:,}; give a smaller number")
    if all(abs(value) <= _SUSPICIOUS for value in numbers.values()):
        return None
    try:
        with torch.device("meta"):
            return sum(int(value.numel()) for value in build().state_dict().values())
    except ConfigError:
        raise
    except Exception:  # not every model can be built on the meta device
        return None


def refuse_too_large(node: Mapping[str, Any], build: Callable[[], nn.Module]) -> None:
    """Raise ConfigError for a model that does not fit into this machine's memory."""
    planned = planned_numbers(node, build)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else None
    if planned and memory and planned * 4 > memory:
        needs = f"its {planned:,} weights need {planned * 4 / 2**30:,.0f} GiB"
        has = f"this machine has {memory / 2**30:,.0f}"
        raise ConfigError(f"model: {needs}, {has}; give {node.get('name')} smaller options")


def _numbers(path: str, value: Any) -> list[tuple[str, float]]:
    """Return every number in a node with its path; numbers in text are ignored."""
    if isinstance(value, bool):
        return []
    if isinstance(value, int | float):
        return [(path, value)]
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else ()
    return [number for key, inner in items for number in _numbers(f"{path}.{key}", inner)]
