"""The jobs of a command line: every combination of a sweep, paired and excluded values, composed fast."""

import copy
import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from expkit.config.combinations import axes_of, combined, first_of, parsed_overrides
from expkit.config.compose import Place, compose_all, first_lines, own_message, plain, without_hydra
from expkit.config.hydra_loader import (
    BASIC_SWEEPER,
    POOL,
    SEARCH,
    SEARCH_SETTINGS,
    Config,
    FileConfigSource,
    Files,
    apply_values,
    guarded,
    to_plain,
)
from expkit.config.search_space import Space, space_of
from expkit.config.texts import as_meant
from expkit.core.errors import ConfigError, nearest

Submit = Callable[[Callable[[int], int], int, Path], None]  # (start, count, folder): start(0), ... on other machines

_SWEEP_WORDS = ("sweep.zip", "sweep.exclude")
_FOLDER = "${output_dir}/sweeps/${now:%Y-%m-%d_%H-%M-%S}"  # conf/config.yaml's, which stands for a folder of ours


@dataclass(frozen=True)
class JobConfig:
    """One job: its overrides (model=resnet18) and its plain config."""

    overrides: list[str]
    config: Config


@dataclass
class Plan:
    """What a command line asks for.

    jobs: all of them, for a search one for each value to be tried. faults: of overrides that could not be composed,
    which are missing in the jobs. words: the command line without what only says how to run it, sorted; they identify
    a sweep. launcher: Hydra's node. folder: the sweep folder that was typed (hydra.sweep.dir), None for the default.
    varied: the keys that differ from job to job, in the typed order. space: what a search draws from. submit: runs jobs
    by a cluster's launcher, None for our pool. for_hydra: the command line with which Hydra starts the jobs, None where
    we do. composed: a single run's config, as Hydra composed it. files: all that were read. notes: messages on the
    jobs for the user.
    """

    jobs: list[JobConfig] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    launcher: dict[str, Any] = field(default_factory=dict)
    folder: str | None = None
    varied: list[str] = field(default_factory=list)
    space: Space | None = None
    submit: Submit | None = None
    for_hydra: list[str] | None = None
    composed: DictConfig | None = None
    files: Files = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def is_sweep(self) -> bool:
        """True for a plan of several jobs, which may be only one (seed=0 with -m)."""
        return self.composed is None


def plan_jobs(overrides: list[str], multirun: bool, place: Place) -> Plan:
    """Return the jobs of a command line. Raises ConfigError."""
    try:
        overrides, ours = _split_off(overrides)
        parsed = parsed_overrides(overrides)
        lists = [override for override in parsed if override.is_discrete_sweep() or not override.is_sweep_override()]
        first = compose_all(first_of(axes_of(lists)) if multirun else overrides, place, resumes=not multirun)
        if not multirun and first.hydra.mode != RunMode.MULTIRUN:
            if ours:
                raise ConfigError(f"{next(iter(ours))}: goes with a sweep; add -m")
            config = plain(without_hydra(copy.deepcopy(first)))
            return Plan(jobs=[JobConfig(overrides, config)], composed=first, files=FileConfigSource.files)
        return _sweep(overrides, ours, first, place)
    except ConfigError:
        raise
    except HydraException as error:
        text = own_message(error)
        raise ConfigError(text if text != first_lines(error) else f"command line: {text}") from error


def _sweep(overrides: list[str], ours: dict[str, Any], first: DictConfig, place: Place) -> Plan:
    folder = None if to_plain(first.hydra.sweep)["dir"] == _FOLDER else str(first.hydra.sweep.dir)
    of_place = [f"--config-{name}={value}" for name, value in vars(place).items() if value is not None]
    words = sorted([word for word in overrides if not word.startswith("hydra")] + of_place)
    words += [f"{key}={value}" for key, value in sorted(ours.items())]
    plan = Plan(words=words, launcher=to_plain(first.hydra.launcher), folder=folder, files=FileConfigSource.files)
    in_files = as_meant([f"{key}={value}" for key, value in (first.hydra.sweeper.params or {}).items()], several=True)
    parsed = parsed_overrides([*in_files, *overrides])
    if first.hydra.sweeper._target_ == SEARCH:
        _search(plan, parsed, ours, first, place)
        return plan
    if first.hydra.sweeper._target_ != BASIC_SWEEPER:
        raise ConfigError("hydra/sweeper: there is basic, every combination, and search, which draws trial by trial")
    axes = axes_of(parsed)
    plan.varied = [key for key, values in axes.items() if len(values) > 1]
    plan.jobs = _composed(combined(axes, ours), _SharedComposer(place, plan.files))
    return plan


def _search(plan: Plan, parsed: list[Override], ours: dict[str, Any], first: DictConfig, place: Place) -> None:
    """Turn a plan into that of a search. Raises ConfigError."""
    if ours:
        raise ConfigError(f"{next(iter(ours))}: is for every combination; a search chooses its trials itself")
    if plan.launcher.get("_target_") != POOL:
        raise ConfigError("hydra/launcher: a search runs on the pool; leave the launcher out (hydra.launcher.n_jobs=1)")
    settings = SEARCH_SETTINGS | to_plain(first.hydra.sweeper)
    del settings["_target_"]
    if unknown := settings.keys() - SEARCH_SETTINGS.keys():  # of a node that a file has written
        name = min(unknown)
        raise ConfigError(f"hydra.sweeper.{name}: a search has no such setting{nearest(name, SEARCH_SETTINGS)}")
    sharing = _SharedComposer(place, plan.files, read_all=True)  # a search may choose any file later
    plan.space = space_of(parsed, {key: settings[key] for key in settings if key != "params"}, sharing.compose)
    plan.words.append("hydra/sweeper=search")  # the same values without it are another sweep
    plan.varied = [axis.key for axis in plan.space.axes]
    plan.jobs = _composed(plan.space.probes(), sharing)


def once(jobs: list[JobConfig]) -> tuple[list[JobConfig], list[str]]:
    """Return the jobs without duplicates (seed=0,0), and the overrides of the duplicates."""
    found: dict[str, JobConfig] = {}
    twins = []
    for one in jobs:
        if found.setdefault(json.dumps(_by_value(one.config), sort_keys=True, default=str), one) is not one:
            twins.append(" ".join(one.overrides))
    return list(found.values()), twins


def _by_value(node: Any) -> Any:
    """Return a config with 1 for 1.0: they are one number."""
    if isinstance(node, dict):
        return {key: _by_value(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_by_value(value) for value in node]
    return int(node) if isinstance(node, float) and node.is_integer() else node


def fault_of_jobs(fault: str, numbers: list[int], total: int) -> str:
    """Return a fault with the numbers of the jobs that have it."""
    if total == 1:
        return fault
    jobs = ", ".join(map(str, numbers[:5])) + (", …" if len(numbers) > 5 else "")
    return f"{fault} ({'all jobs' if len(numbers) == total else f'job {jobs}; {len(numbers)} of {total}'})"


def split_words(overrides: list[str]) -> tuple[list[str], list[str]]:
    """Return the overrides for Hydra, and those of expkit that say how values combine."""
    ours = [word for word in overrides if word.lstrip("+~").startswith("sweep.")]
    return [word for word in overrides if word not in ours], ours


def _split_off(overrides: list[str]) -> tuple[list[str], dict[str, Any]]:
    kept, ours = split_words(overrides)
    found = {}
    for one in OverridesParser.create().parse_overrides(ours):
        key = one.key_or_group
        if key not in _SWEEP_WORDS:
            raise ConfigError(f"{key}: there is {' and '.join(_SWEEP_WORDS)}{nearest(key, _SWEEP_WORDS)}")
        found[key] = one.value()
    return kept, found


def _composed(jobs: Sequence[list[str]], sharing: "_SharedComposer") -> list[JobConfig]:
    """Compose every job, with a bar where there are many."""
    from expkit.core.progress import bar

    found = []
    with bar("composing", len(jobs), "jobs") if len(jobs) > 1 else nullcontext(lambda done: None) as advance:
        for job in jobs:
            found.append(JobConfig(job, sharing.compose(job)))
            advance(1)
    return found


class _SharedComposer:
    """Composes jobs that differ in values alone from one composed config: files are merged once per choice of files."""

    def __init__(self, place: Place, files: Files, read_all: bool = False) -> None:
        self.place, self.files, self.read_all = place, files, read_all
        self._bases: dict[tuple[str, ...], DictConfig] = {}
        self._parse = cache(OverridesParser.create().parse_override)

    def compose(self, words: list[str]) -> Config:
        overrides = [self._parse(word) for word in words]
        values = [one for one in overrides if _is_value(one)]
        rest = tuple(one.input_line or "" for one in overrides if not _is_value(one))
        if rest not in self._bases:
            with guarded(self.files, read_all=self.read_all):
                self._bases[rest] = without_hydra(compose_all(list(rest), self.place, resumes=False))
            self.read_all = False
        config = copy.deepcopy(self._bases[rest])
        try:
            apply_values(values, config)
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(own_message(error)) from error
        return plain(config)


def _is_value(override: Override) -> bool:
    """Return True if an override sets a value in the job's config, and chooses no file."""
    key = override.key_or_group
    if key.startswith("hydra") or "/" in key or override.package is not None:
        return False
    return "." in key or (override.type == OverrideType.CHANGE and key in _SCALARS)


# Keys at the top of conf/config.yaml that are no group; others are composed in full.
_SCALARS = frozenset({"seed", "epochs", "max_steps", "batch_size", "accumulate_steps", "clip_grad_norm", "ema_decay"})
