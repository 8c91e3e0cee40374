"""Check a config once, before anything is built: all groups and jobs, with all faults together."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from functools import reduce
from typing import Any

from expkit.config.checked import Checked, CheckedConfig
from expkit.config.hydra_loader import Config
from expkit.config.plan import JobConfig, Plan, fault_of_jobs
from expkit.config.registry import GROUPS
from expkit.config.run_options import RunOptions
from expkit.config.search_space import Space
from expkit.core.errors import ConfigError
from expkit.data import transforms as pixels


def check_plan(plan: Plan) -> Plan:
    """Return a plan whose jobs are checked. Raises ConfigError with the faults of all of them, each once."""
    faults: dict[str, list[int]] = {fault: [0] for fault in plan.faults}
    jobs = []
    for number, job in enumerate(plan.jobs):
        try:
            jobs.append(JobConfig(job.overrides, check(job.config)))
        except ConfigError as error:
            for fault in error.faults:
                fixed = _integer_fault(fault, job.config, plan.space) if plan.space else ""
                faults.setdefault(fixed or fault, []).append(number)
    if faults:
        raise ConfigError(*(fault_of_jobs(fault, numbers, len(plan.jobs)) for fault, numbers in faults.items()))
    return replace(plan, jobs=jobs)


def _integer_fault(fault: str, config: Config, space: Space) -> str:
    """Return a message for an interval of floats whose option needs integers, "" for any other fault."""
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
    return f"{axis.path}: expected integers, and interval() gives floats; write {typed}"


def check(config: Mapping[str, Any]) -> CheckedConfig:
    """Check every group of a config against the registry, and the scalars. Raises ConfigError with all faults.

    Checked configs and nodes are not checked again.
    """
    if isinstance(config, CheckedConfig):
        return config
    scalars = {name: value for name, value in config.items() if name not in (*GROUPS, "experiment")}
    faults = RunOptions.faults(scalars)
    nodes = {}
    for group in GROUPS:
        if group in _OPTIONAL and group not in config:
            continue
        try:
            nodes[group] = _checked(group, config)
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(*faults)
    return CheckedConfig({**config, **nodes}, RunOptions.of(scalars))


def _checked(group: str, config: Mapping[str, Any]) -> Checked:
    if group == "task" and group not in config:  # a record of before there were any
        return GROUPS[group].check({"name": "auto"})
    if group not in config:
        raise ConfigError(f"{group}: is required; choose one with {group}=…")
    node = config[group]
    if isinstance(node, Checked):
        return node
    if group == "transforms":
        return pixels.check(node)
    if group in _EXAMPLES:
        return _each(group, node)
    return GROUPS[group].check(node)


_EXAMPLES = {  # of groups of several nodes
    "logger": ("loggers", "tensorboard"), "watch": ("watchers", "default"), "metric": ("metrics", "f1"),
}  # fmt: skip
_OPTIONAL = ("metric",)  # a run has the scores of its task in any case


def _each(group: str, node: object) -> Checked:
    """Check a mapping of nodes. Raises ConfigError with the faults of all."""
    if not isinstance(node, Mapping):
        members, example = _EXAMPLES[group]
        raise ConfigError(
            f"{group}: expected a mapping of {members}, got {node!r}; e.g. {group}={example} or {group}=none"
        )
    found, faults = {}, list[str]()
    for name, one in node.items():
        try:
            found[name] = GROUPS[group].check(one, f"{group}.{name}")
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(*faults)
    return Checked(found)
