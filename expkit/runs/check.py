"""Everything of a config is checked here, before any of it is built: all groups and jobs, and all faults together."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from functools import reduce

from expkit.config.launch import Config, JobConfig, Plan, fault_of_jobs
from expkit.config.registry import GROUPS, loggers
from expkit.config.run_options import RunOptions
from expkit.config.search_space import Space
from expkit.core.errors import ConfigError
from expkit.data import transforms as pixels
from expkit.runs.setup import scalars
from expkit.training.watch.dispatcher import faults as watch_faults


def check_plan(plan: Plan) -> Plan:
    """Return a plan whose jobs are checked. Raises ConfigError with the faults of all of them, each once."""
    faults: dict[str, list[int]] = {fault: [0] for fault in plan.faults}
    jobs = []
    for number, job in enumerate(plan.jobs):
        try:
            jobs.append(JobConfig(job.overrides, check(job.config)))
        except ConfigError as error:
            for fault in error.faults:
                told = _of_whole_numbers(fault, job.config, plan.space) if plan.space else ""
                faults.setdefault(told or fault, []).append(number)
    if faults:
        raise ConfigError(*(fault_of_jobs(fault, numbers, len(plan.jobs)) for fault, numbers in faults.items()))
    return replace(plan, jobs=jobs)


def _of_whole_numbers(fault: str, config: Config, space: Space) -> str:
    """Return what to type for an interval of floats whose key takes whole numbers, "" where that is not the fault."""
    axis = next((axis for axis in space.axes if fault.startswith(f"{axis.path}: ")), None)
    if axis is None or not (typed := axis.of_whole_numbers()):
        return ""
    whole = copy.deepcopy(config)
    *above, name = axis.path.split(".")
    node = reduce(lambda node, key: node[key], above, whole)
    node[name] = int(node[name])
    try:
        check(whole)
    except ConfigError as error:
        if any(other.startswith(f"{axis.path}: ") for other in error.faults):
            return ""
    return f"{axis.path}: takes whole numbers, and interval() gives others; write {typed}"


def check(config: Config) -> Config:
    """Check every group of a config against the registry, and the scalars. Raises ConfigError with all faults."""
    faults = RunOptions.faults(scalars(config))
    for group, registry in GROUPS.items():
        if group not in config:
            faults.append(f"{group}: is needed; choose one with {group}=…")
        elif group == "transforms":
            faults += pixels.faults(config[group])
        elif group == "logger":
            faults += _logger_faults(config[group])
        elif group == "watch":
            faults += watch_faults(config[group])
        else:
            faults += registry.faults(config[group])
    if faults:
        raise ConfigError(*faults)
    return config


def _logger_faults(node: object) -> list[str]:
    if not isinstance(node, Mapping):
        return [f"logger: takes a mapping of loggers, got {node!r}; e.g. logger=tensorboard or logger=none"]
    return [fault for name, one in node.items() for fault in loggers.faults(one, f"logger.{name}")]
