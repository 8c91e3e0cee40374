"""From a command line to checked configs and running jobs: the way through Hydra, which only this file starts."""

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep
from hydra.errors import HydraException
from hydra.main import main as hydra_main
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException

from expkit.composing import Config, conf_folder, guarded, to_plain
from expkit.guard import guard_job
from expkit.registry import GROUPS, ConfigError, nearest

__all__ = ["Config", "compose_one", "conf_folder", "launch", "plain"]

MOST_JOBS = 10_000  # of a sweep
_BASIC = f"{BasicSweeper.__module__}.{BasicSweeper.__name__}"


@dataclass(frozen=True)
class Place:
    """Where a command line says its config lies; the package's conf/config.yaml where it says nothing."""

    config_name: str | None = None
    config_dir: str | None = None
    config_path: str | None = None

    def folder(self) -> Path:
        """Return the folder of the primary config. Raises ConfigError where a named folder is missing."""
        for option, folder in (("--config-dir", self.config_dir), ("--config-path", self.config_path)):
            if folder is not None and not Path(folder).is_dir():
                raise ConfigError(f"{option}: there is no folder '{folder}'")
        return Path(self.config_path).resolve() if self.config_path else conf_folder()


def launch(arguments: list[str], check: Callable[[Config], None], job: Callable[[Config, list[str]], object]) -> None:
    """Compose and check every job first, and only then let Hydra start them: job(config, overrides).

    Raises ConfigError for whatever a user can mend; nothing of a config has been acted upon then.
    """
    parsed = get_args_parser().parse_args(arguments)
    _refuse_flags(parsed)
    place = Place(parsed.config_name, parsed.config_dir, parsed.config_path)
    folder = place.folder()
    with guarded():
        if not (parsed.hydra_help or parsed.shell_completion):
            for composed in _jobs(parsed.overrides, parsed.multirun, place):
                if not (parsed.help or parsed.cfg or parsed.info):
                    check(plain(_without_hydra(composed)))
        _start([*arguments, f"--config-path={folder}"], job)


def _refuse_flags(parsed: argparse.Namespace) -> None:
    if parsed.experimental_rerun:
        raise ConfigError("--experimental-rerun: loads a pickle, which can run code; give the overrides again")
    asked = [flag for flag in ("run", "multirun", "cfg", "info", "shell_completion") if getattr(parsed, flag)]
    if len(asked) > 1:
        raise ConfigError(f"command line: takes one of {' and '.join('--' + flag for flag in asked)} at a time")
    if parsed.resolve and not (parsed.cfg or parsed.help):
        raise ConfigError("--resolve: goes with --cfg or --help; add one of them")


def _start(arguments: list[str], job: Callable[[Config, list[str]], object]) -> None:
    """Hand a command line to Hydra, which composes again and runs each job, or prints what was asked for."""

    def task(config: DictConfig) -> None:
        job(plain(config), list(HydraConfig.get().overrides.task))

    previous, sys.argv = sys.argv, [sys.argv[0], *arguments]
    try:
        hydra_main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(task)()
    finally:
        sys.argv = previous


def _jobs(overrides: list[str], multirun: bool, place: Place) -> Iterator[DictConfig]:
    """Yield the config of every job that a command line stands for, as far as they can be told beforehand."""
    try:
        parsed = OverridesParser.create().parse_overrides(overrides)
        told = [override for override in parsed if override.is_discrete_sweep() or not override.is_sweep_override()]
        first = _compose(_combinations(told)[0] if multirun else overrides, place)
        if not multirun and first.hydra.mode != RunMode.MULTIRUN:
            yield first
        elif OmegaConf.select(first, "hydra.sweeper._target_") == _BASIC:  # another one chooses as it goes
            in_files = [f"{key}={value}" for key, value in (first.hydra.sweeper.params or {}).items()]
            for job in _combinations(OverridesParser.create().parse_overrides([*in_files, *overrides])):
                yield _compose(job, place)
    except ConfigError:
        raise
    except HydraException as error:
        raise ConfigError(f"command line: {_first_lines(error)}") from error


def _combinations(overrides: list[Override]) -> list[list[str]]:
    """Return the overrides of every job of Hydra's basic sweep. Raises ConfigError where they are too many."""
    jobs = math.prod(_choices_of(override) for override in overrides)
    if jobs > MOST_JOBS:
        raise ConfigError(f"sweep: stands for more than {MOST_JOBS:,} jobs; sweep over fewer values")
    return [job for batch in BasicSweeper.split_arguments(overrides, None) for job in batch]


def _choices_of(override: Override) -> int:
    value = override.value() if override.is_discrete_sweep() else None
    if isinstance(value, RangeSweep) and value.start is not None and value.stop is not None:
        return max(math.ceil((value.stop - value.start) / value.step), 1) if value.step else MOST_JOBS + 1
    return len(value.list) if isinstance(value, ChoiceSweep) else 1


def compose_one(overrides: list[str], config_name: str | None = None, config_dir: str | None = None) -> DictConfig:
    """Return one job's config, guarded, with Hydra's own node left out. Raises ConfigError."""
    with guarded():
        return _without_hydra(_compose(overrides, Place(config_name, config_dir)))


def _without_hydra(config: DictConfig) -> DictConfig:
    with flag_override(config, ["struct", "readonly"], False):
        del config["hydra"]
    return config


def _compose(overrides: list[str], place: Place) -> DictConfig:
    """Return a config with Hydra's node. Raises ConfigError, whatever Hydra thinks of the config."""
    try:
        with initialize_config_dir(str(place.folder()), version_base="1.3", job_name="run"):
            more = _search_path(overrides, place.config_dir) if place.config_dir else []
            return compose(place.config_name or "config", [*more, *overrides], return_hydra_config=True)
    except ConfigError:
        raise
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_in_our_words(error)) from error


def _search_path(overrides: list[str], config_dir: str) -> list[str]:
    """Return the override that has Hydra search --config-dir too, and what the person typed after it."""
    folders = [f"file://{Path(config_dir).resolve()}"]
    for override in OverridesParser.create().parse_overrides(overrides):
        value = override.value()
        if override.key_or_group == "hydra.searchpath" and isinstance(value, list):
            folders += value
    quoted = (folder.replace("\\", "\\\\").replace('"', '\\"') for folder in folders)
    return ["hydra.searchpath=[" + ",".join(f'"{folder}"' for folder in quoted) + "]"]


def plain(config: DictConfig) -> Config:
    """Return a job's config as plain dicts and lists, references resolved. Raises ConfigError.

    Code, and resolvers such as that of environment variables, are refused before anything is resolved.
    """
    guard_job(to_plain(config))
    try:
        if missing := sorted(OmegaConf.missing_keys(config)):
            raise ConfigError(*(f"{key}: is needed; give it as {key}=…" for key in missing))
        return to_plain(config, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{getattr(error, 'full_key', None) or 'config'}: {_first_lines(error)}") from error


def _in_our_words(error: Exception) -> str:
    """Return an error of composing in a sentence that names the override and the nearest right one."""
    text = _first_lines(error)
    if "Could not override '" in text:
        key = text.split("Could not override '", 1)[1].split("'", 1)[0]
        return _unknown_key(key)
    if "Could not find '" in text:
        choice = text.split("Could not find '", 1)[1].split("'", 1)[0]
        group, _, word = choice.rpartition("/")
        choices = _choices(group)
        hint = nearest(word, choices) or f"; there is {', '.join(choices)}"
        return f"{group or 'config'}: there is no choice '{word}' in conf/{group}{hint}"
    return text


def _unknown_key(key: str) -> str:
    group, _, option = key.partition(".")
    if not option:
        words = [*GROUPS, "experiment", "name", "seed", "epochs", "batch_size"]
        return f"{key}: the config has no such key{nearest(key, words)}"
    known = set(GROUPS[group].options_of_all()) if group in GROUPS else set()
    hint = nearest(option, known)
    return f"{key}: the chosen conf/{group} lists no such option{hint}{'' if hint else f'; +{key}=… adds one'}"


def _choices(group: str) -> list[str]:
    folders = [Path.cwd() / "conf" / group, conf_folder() / group]
    return sorted({path.stem for folder in folders if folder.is_dir() for path in folder.glob("*.yaml")})


def _first_lines(error: Exception) -> str:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return " ".join(lines[:2]) if lines else type(error).__name__
