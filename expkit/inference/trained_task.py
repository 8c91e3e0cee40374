"""The task of a trained model, from the facts of its checkpoint, which may be a stranger's."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from expkit.core.errors import ConfigError, first_line
from expkit.data.labels import unique_names
from expkit.tasks.task import Task, trained_task


def task_of(facts: Mapping[str, Any], path: Path) -> Task:
    """Return the task that a checkpoint's facts tell of. Raises ConfigError.

    facts: "task" and "class_names" have been checked. The config names the task if it is a plugin's.
    """
    node, statistics = facts["config"].get("task"), facts.get("statistics", {})
    if not _are_statistics(statistics) or not isinstance(node, Mapping | None):
        raise ConfigError(f"{path}: its manifest is not one that expkit wrote: statistics: {str(statistics)[:80]}")
    try:
        task = trained_task(facts["task"], unique_names(facts["class_names"]), statistics, node)
    except ConfigError as error:
        raise ConfigError(*(f"{path}: {fault}" for fault in error.faults)) from error
    _try(task, path)
    return task


def _are_statistics(found: object) -> bool:
    return isinstance(found, Mapping) and all(
        isinstance(name, str) and isinstance(values, Sequence) and all(map(_is_number, values))
        for name, values in found.items()
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _try(task: Task, path: Path) -> None:
    """Raise ConfigError where the statistics are not those that the task needs."""
    outputs = torch.zeros(1, *task.output_shape(8, 8))
    try:
        task.metrics()
        task.answers(outputs)
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        problem = f"the task {task.kind} misses something: {type(error).__name__}: {first_line(error)}"
        raise ConfigError(f"{path}: its manifest is not one that expkit wrote: {problem}") from error
