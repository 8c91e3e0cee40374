"""From a command line to a plan: its jobs, composed and made safe. What a command line only asks to see is printed."""

import argparse
import difflib
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import configure_log
from hydra.experimental.callback import Callback
from hydra.main import main as hydra_main
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, flag_override

from expkit.config.compose import Place, Uncomposed, compose_one, nearest_key, plain, without_hydra
from expkit.config.hydra_loader import POOL, Config, Files, conf_folder, guarded, top_keys
from expkit.config.hydra_settings import refuse_unheeded
from expkit.config.plan import JobConfig, Plan, Submit, fault_of_jobs, once, plan_jobs, split_words
from expkit.config.texts import as_meant
from expkit.core.errors import ConfigError
from expkit.core.escaping import as_override, one_line, quoted
from expkit.core.files import disk_fault
from expkit.core.formatting import count_noun
from expkit.core.user_folders import expanded

__all__ = [
    "Config", "JobConfig", "Plan", "Submit", "compose_one", "conf_folder", "fault_of_jobs", "plain", "plan",
    "run_by_hydra",
]  # fmt: skip

_CLUSTERS = tuple(
    f"hydra_plugins.hydra_{name}"
    for name in ("submitit_launcher.submitit_launcher.LocalLauncher",
                 "submitit_launcher.submitit_launcher.SlurmLauncher", "ray_launcher.ray_launcher.RayLauncher")
)  # fmt: skip


def plan(arguments: Sequence[str]) -> Plan:
    """Return what a command line asks for, with every job composed and made safe; nothing has been acted upon.

    What it only asks to see (--help, --cfg, --info, completion) is printed, and there are no jobs. Raises ConfigError.
    """
    words, parsed = _parsed([*arguments])
    if parsed.shell_completion and _answered(parsed.overrides):
        return Plan()
    words, parsed.overrides = _as_meant(words, parsed)
    place = Place(parsed.config_name, parsed.config_dir, parsed.config_path)
    for_hydra = [word for word in words if word not in split_words(words)[1]]
    for_hydra.append(f"--config-path={place.folder()}")
    with guarded():
        if parsed.hydra_help or parsed.shell_completion:
            _start_hydra(for_hydra)
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
    """Return a plan with each job once, and with what starts them where that is not expkit. Raises ConfigError."""
    launcher = found.launcher.get("_target_")
    is_ours = found.is_sweep and launcher in (POOL, *_CLUSTERS)
    refuse_unheeded(parsed.overrides, found.is_sweep, is_ours)
    if launcher in _CLUSTERS:
        typed = [word for word in parsed.overrides if word.startswith("hydra")]
        found.submit = partial(_submit, overrides=found.jobs[0].overrides + typed, place=place, files=found.files)
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


def run_by_hydra(plan: Plan, job: Callable[[Config, list[str]], object]) -> None:
    """Have Hydra start the jobs of a plan that has words for it: job(config, overrides).

    It does so for launchers of others, and for a run that is to have a folder, a log or callbacks of Hydra's.
    """
    assert plan.for_hydra is not None

    def task(config: DictConfig) -> object:
        try:
            return job(plain(config), list(HydraConfig.get().overrides.task))
        except OSError as error:  # here, for Hydra answers it with a traceback
            if not (sentence := disk_fault(error)):
                raise
            print(f"error: {one_line(sentence)}", file=sys.stderr)
            sys.exit(1)

    with guarded(plan.files, plan.composed, plan.is_sweep):
        _start_hydra(plan.for_hydra, task)


def _show(found: Plan, for_hydra: list[str], parsed: argparse.Namespace) -> None:
    """Have Hydra print what was asked for. Its help knows no sweep: it is about the first job."""
    if parsed.help and found.is_sweep:
        flags = [word for word in for_hydra if word not in (*parsed.overrides, "-m", "--multirun")]
        for_hydra = [*flags, *(found.jobs[0].overrides if found.jobs else [])]
    with guarded(found.files, found.composed, found.is_sweep):
        _start_hydra(for_hydra)


def _start_hydra(arguments: list[str], task: Callable[[DictConfig], object] = lambda config: None) -> None:
    """Hand a command line to Hydra, which composes again and runs each job, or prints what was asked for."""
    previous, sys.argv = sys.argv, [sys.argv[0], *arguments]
    try:
        hydra_main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(task)()
    finally:
        sys.argv = previous


def _once(found: Plan, is_ours: bool) -> Plan:
    """Return a sweep with each job once. is_ours: whether expkit starts them. Raises ConfigError where others would."""
    different, twins = once(found.jobs)
    if not twins or found.space:
        return found
    if not is_ours:
        raise ConfigError(f"sweep: the same job is asked for more than once ({twins[0]}); give each value once")
    count = count_noun(len(twins), "job")
    found.notes.append(f"{count} with the same config as another one will run once (e.g. {twins[0]})")
    found.jobs = different
    return found


def _parser() -> argparse.ArgumentParser:
    """Return a parser of the flags that Hydra knows."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("overrides", nargs="*")
    switches = ("--help -h", "--hydra-help", "--resolve", "--run -r", "--multirun -m", "--shell-completion -sc")
    for names in switches:
        parser.add_argument(*names.split(), action="store_true")
    for names in ("--package -p", "--config-path -cp", "--config-name -cn", "--config-dir -cd", "--experimental-rerun"):
        parser.add_argument(*names.split())
    parser.add_argument("--cfg", "-c", choices=["job", "hydra", "all"])
    kinds = ["all", "config", "defaults", "defaults-tree", "plugins", "searchpath"]
    parser.add_argument("--info", "-i", nargs="?", const="all", choices=kinds)
    return parser


def _parsed(arguments: list[str]) -> tuple[list[str], argparse.Namespace]:
    """Return a command line with its overrides in front, where Hydra reads them all, and parsed. Raises ConfigError."""
    parsed, unknown = _parser().parse_known_intermixed_args(arguments)
    _refuse_flags(parsed, unknown)
    flags = [word for word in arguments if word not in (*parsed.overrides, "--")]
    folders = re.compile(r"(--config-(?:dir|path)|-c[dp])=(.*)", re.S)
    flags = [f"{found[1]}={expanded(found[2])}" if (found := folders.fullmatch(word)) else word for word in flags]
    return [*parsed.overrides, *flags], parsed


def _as_meant(arguments: list[str], parsed: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Return the command line and its overrides with texts as they were meant. Raises ConfigError."""
    only_shows = bool(parsed.help or parsed.hydra_help or parsed.cfg or parsed.info or parsed.shell_completion)
    meant = as_meant(parsed.overrides, several=parsed.multirun, typed_only=only_shows)
    by_word = dict(zip(parsed.overrides, meant, strict=True))
    return [by_word.get(word, word) for word in arguments], meant


def flags_of_place(arguments: Sequence[str]) -> list[str]:
    """Return the flags of a command line that say where the config lies: a command that is printed needs them too."""
    given = _parser().parse_known_intermixed_args(list(arguments))[0]
    named = {name: getattr(given, f"config_{name}") for name in ("dir", "name", "path")}
    return [f"--config-{name}={value}" for name, value in named.items() if value]


def _answered(overrides: list[str]) -> bool:
    from expkit.config.completion import answer

    return answer(overrides)


def _refuse_flags(parsed: argparse.Namespace, unknown: list[str]) -> None:
    unknown = [*unknown, *(word for word in parsed.overrides if word.startswith("--") and word != "--")]
    if unknown:
        raise ConfigError(f"{unknown[0]}: there is no such flag{_meant_by_flag(unknown[0])}")
    if parsed.experimental_rerun:
        raise ConfigError("--experimental-rerun: loads a pickle, which can run code; give the overrides again")
    asked = [flag for flag in ("run", "multirun", "cfg", "info", "shell_completion") if getattr(parsed, flag)]
    if len(asked) > 1:
        raise ConfigError(f"command line: takes one of {' and '.join('--' + flag for flag in asked)} at a time")
    if parsed.resolve and not (parsed.cfg or parsed.help):
        raise ConfigError("--resolve: goes with --cfg or --help; add one of them")


_FLAGS = ("--plugin", "--list", "--dry", "--new", "--frozen", "--version", "--help", "--cfg", "--config-dir")


def _meant_by_flag(flag: str) -> str:
    """Return a hint at what was meant by a flag that there is not: an override without its dashes, or a flag."""
    name, _, value = flag.partition("=")
    key = name.lstrip("-").replace("-", "_")
    if key.partition(".")[0] in top_keys():
        typed = f"{key}={value or '…'}" if re.fullmatch(r"[\w./+-]*", value) else as_override(key, value)
        return f"; an override has no dashes: {typed}"
    if flags := difflib.get_close_matches(name, _FLAGS, n=1, cutoff=0.75):
        return f"; did you mean '{flags[0]}'?"
    return nearest_key(key, value or None) or "; see `python -m expkit.run --help`"


def _submit(
    start: Callable[[int], int], count: int, folder: Path, overrides: list[str], place: Place, files: Files
) -> None:
    """Have Hydra's launcher call start(0), start(1), ... on its machines, and wait for all of them.

    The launcher wants a config and composes one for each job; what is run is none of it, but what the sweep has frozen.
    """
    words = [*overrides, f"hydra.sweep.dir={quoted(str(folder.absolute()))}", "hydra.sweep.subdir=output"]
    with guarded(files), initialize_config_dir(str(place.folder()), version_base="1.3", job_name="run"):
        config = compose(place.config_name or "config", [*words, "hydra/hydra_logging=none"], return_hydra_config=True)
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        none: Any = Callback()  # each of its methods does nothing
        context = HydraContext(config_loader=hydra.config_loader, callbacks=none)
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=context, task_function=_by_number(start), config=config
        )
        launcher.launch([[] for _ in range(count)], 0)


def _by_number(start: Callable[[int], int]) -> TaskFunction:
    def task(config: DictConfig) -> int:
        return start(HydraConfig.get().job.num)

    return task
