"""From a command line to a plan: its jobs, composed and made safe. --help, --cfg and --info are printed."""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hydra.core.utils import configure_log
from omegaconf import DictConfig, flag_override

from expkit.config.compose import Place, Uncomposed, plain, without_hydra
from expkit.config.hydra_app import start_hydra, submit
from expkit.config.hydra_flags import parse
from expkit.config.hydra_loader import POOL, guarded
from expkit.config.hydra_settings import refuse_unheeded
from expkit.config.plan import JobConfig, Plan, once, plan_jobs, split_words
from expkit.config.texts import as_meant
from expkit.core.command_parser import CommandParser
from expkit.core.errors import ConfigError
from expkit.core.formatting import count_noun

_CLUSTERS = tuple(
    f"hydra_plugins.hydra_{name}"
    for name in ("submitit_launcher.submitit_launcher.LocalLauncher",
                 "submitit_launcher.submitit_launcher.SlurmLauncher", "ray_launcher.ray_launcher.RayLauncher")
)  # fmt: skip


def plan(arguments: Sequence[str], command: CommandParser | None = None) -> Plan:
    """Return the plan of a command line, with every job composed and made safe; nothing has been acted upon.

    What it only asks to see (--help, --cfg, --info) is printed, and there are no jobs.

    Args:
        arguments: overrides and the flags that Hydra knows.
        command: the parser of the command's own flags, for the nearest to an unknown one.

    Raises:
        ConfigError: for what cannot be composed.
    """
    words, parsed = parse(arguments, command)
    words, parsed.overrides = _as_meant(words, parsed)
    place = Place(parsed.config_name, parsed.config_dir, parsed.config_path)
    for_hydra = [word for word in words if word not in split_words(words)[1]]
    for_hydra.append(f"--config-path={place.folder()}")
    with guarded():
        if parsed.hydra_help:
            start_hydra(for_hydra)
            return Plan()
        try:
            found = plan_jobs(parsed.overrides, parsed.multirun, place)
        except Uncomposed as error:
            if error.rest is None or parsed.help or parsed.cfg or parsed.info:
                raise
            return _faulty(error.faults, error.rest, parsed.overrides)
    if parsed.help or parsed.cfg or parsed.info:
        _show(found, for_hydra, parsed)
        return Plan()
    return _startable(found, parsed, place, for_hydra)


def _faulty(faults: Sequence[str], rest: DictConfig, overrides: list[str]) -> Plan:
    """Return a plan of what can be composed of faulty overrides, to be checked with them. Raises ConfigError."""
    try:
        return Plan([JobConfig(overrides, plain(without_hydra(rest)))], faults=list(faults))
    except ConfigError as more:
        raise ConfigError(*dict.fromkeys([*faults, *more.faults])) from more


def _startable(found: Plan, parsed: argparse.Namespace, place: Place, for_hydra: list[str]) -> Plan:
    """Return a plan without duplicate jobs, with a launcher where expkit does not run them. Raises ConfigError."""
    launcher = found.launcher.get("_target_")
    is_ours = found.is_sweep and launcher in (POOL, *_CLUSTERS)
    refuse_unheeded(parsed.overrides, found.is_sweep, is_ours)
    if launcher in _CLUSTERS:
        typed = [word for word in parsed.overrides if word.startswith("hydra")]
        found.submit = partial(submit, overrides=found.jobs[0].overrides + typed, place=place, files=found.files)
    if found.composed is None:
        found.for_hydra = None if is_ours else for_hydra
        return _once(found, is_ours)
    node = found.composed.hydra
    if node.job.chdir or node.callbacks or node.output_subdir or node.verbose or node.run.dir != ".":
        found.for_hydra = for_hydra
    else:
        with flag_override(node.runtime, ["struct", "readonly"], False):
            node.runtime.output_dir = str(Path.cwd())
        configure_log(node.job_logging)
    return found


def _show(found: Plan, for_hydra: list[str], parsed: argparse.Namespace) -> None:
    """Let Hydra print what was asked for. Its help knows no sweep and shows the first job."""
    if parsed.help and found.is_sweep:
        flags = [word for word in for_hydra if word not in (*parsed.overrides, "-m", "--multirun")]
        for_hydra = [*flags, *(found.jobs[0].overrides if found.jobs else [])]
    with guarded(found.files, found.composed, found.is_sweep):
        start_hydra(for_hydra)


def _once(found: Plan, is_ours: bool) -> Plan:
    """Return a sweep without duplicate jobs. Raises ConfigError where expkit does not start them."""
    different, duplicates = once(found.jobs)
    if not duplicates or found.space:
        return found
    if not is_ours:
        raise ConfigError(f"sweep: the same job is given more than once ({duplicates[0]}); give each value once")
    count = count_noun(len(duplicates), "job")
    found.notes.append(f"{count} with the same config as another one will run once (e.g. {duplicates[0]})")
    found.jobs = different
    return found


def _as_meant(arguments: list[str], parsed: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Return the command line and its overrides with texts as they were meant. Raises ConfigError."""
    only_shows = bool(parsed.help or parsed.hydra_help or parsed.cfg or parsed.info)
    meant = as_meant(parsed.overrides, several=parsed.multirun, typed_only=only_shows)
    by_word = dict(zip(parsed.overrides, meant, strict=True))
    return [by_word.get(word, word) for word in arguments], meant
