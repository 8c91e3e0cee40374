"""From a command line to checked configs and running jobs: the way through Hydra, which only this file starts."""

import argparse
import copy
import difflib
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial, reduce
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.main import main as hydra_main
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from expkit.config.compose import Place, Uncomposed, compose_one, nearest_key, plain, without_hydra
from expkit.config.hydra_loader import POOL, Config, FileConfigSource, GuardedLoader, conf_folder, guarded, top_keys
from expkit.config.hydra_settings import refuse_unheeded
from expkit.config.plan import JobConfig, Plan, Submit, fault_of_jobs, once, plan_jobs, split_words
from expkit.config.search_space import Space
from expkit.config.texts import as_meant
from expkit.core.errors import ConfigError
from expkit.core.escaping import as_override, one_line, quoted
from expkit.core.files import disk_fault
from expkit.core.formatting import count_noun
from expkit.core.user_folders import expanded

__all__ = ["Config", "JobConfig", "Plan", "Submit", "compose_one", "conf_folder", "fault_of_jobs", "launch", "plain"]

Job = Callable[[Config, list[str]], object]
Sweep = Callable[[Plan], None]  # runs a plan's jobs
_CLUSTERS = tuple(
    f"hydra_plugins.hydra_{name}"
    for name in ("submitit_launcher.submitit_launcher.LocalLauncher",
                 "submitit_launcher.submitit_launcher.SlurmLauncher", "ray_launcher.ray_launcher.RayLauncher")
)  # fmt: skip


def launch(
    arguments: list[str], check: Callable[[Config], None], job: Job, sweep: Sweep | None = None, dry: bool = False
) -> None:
    """Compose and check every job first, and only then start them: job(config, overrides).

    sweep: runs the jobs of a sweep whose launcher is our pool; without one they run here, one after the other. dry:
    hands a plan to it in any case. Raises ConfigError for whatever a user can fix; nothing has been acted upon then.
    """
    arguments, parsed = _parsed(arguments)
    if parsed.shell_completion and _answered(parsed.overrides):
        return
    arguments, parsed.overrides = _as_meant(arguments, parsed)
    place = Place(parsed.config_name, parsed.config_dir, parsed.config_path)
    folder = place.folder()
    with guarded():
        plan = Plan()
        if not (parsed.hydra_help or parsed.shell_completion):
            shows = bool(parsed.help or parsed.cfg or parsed.info)
            plan = _planned(parsed, place, None if shows else check)
            FileConfigSource.read_all = plan.space is not None  # nobody knows what it will choose later
            jobs = _compose_all(plan, bool(parsed.cfg))
            if not shows:
                _check_all(jobs, check, plan.space)
                GuardedLoader.checked = plan.composed
                launcher = plan.launcher.get("_target_")
                is_ours = dry or (plan.is_sweep and launcher in (POOL, *_CLUSTERS))
                refuse_unheeded(parsed.overrides, plan.is_sweep, is_ours)
                plan.jobs = iter(_once(plan, jobs, is_ours))
                if is_ours:
                    if launcher in _CLUSTERS:
                        plan.submit = partial(_submit, overrides=jobs[0].overrides + _of_hydra(parsed), place=place)
                    _run(plan, job, sweep)
                    return
        FileConfigSource.read_all = plan.is_sweep  # whatever is composed from now on, is as the files are now
        kept = [word for word in arguments if word not in split_words(arguments)[1]]
        if parsed.help and plan.is_sweep:  # Hydra's help knows no sweep: it tells of the first job
            flags = [word for word in kept if word not in (*parsed.overrides, "-m", "--multirun")]
            kept = [*flags, *(jobs[0].overrides if jobs else [])]
        _start([*kept, f"--config-path={folder}"], job)


def _planned(parsed: argparse.Namespace, place: Place, check: Callable[[Config], None] | None) -> Plan:
    """Plan the jobs of a command line. Raises ConfigError with the faults of all overrides, as far as they are known.

    check: of configs; None where a config is only shown.
    """
    try:
        return plan_jobs(parsed.overrides, parsed.multirun, place)
    except Uncomposed as error:
        if error.rest is None or check is None:
            raise
        try:
            check(plain(without_hydra(error.rest)))
        except ConfigError as more:
            raise ConfigError(*dict.fromkeys([*error.faults, *more.faults])) from error
        raise


def _parsed(arguments: list[str]) -> tuple[list[str], argparse.Namespace]:
    """Return a command line with its overrides in front, where Hydra reads them all, and parsed. Raises ConfigError."""
    parsed, unknown = get_args_parser().parse_known_intermixed_args(arguments)
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
    given = get_args_parser().parse_known_intermixed_args(list(arguments))[0]
    named = {name: getattr(given, f"config_{name}") for name in ("dir", "name", "path")}
    return [f"--config-{name}={value}" for name, value in named.items() if value]


def _answered(overrides: list[str]) -> bool:
    from expkit.config.completion import answer

    return answer(overrides)


def _compose_all(plan: Plan, is_shown: bool) -> list[JobConfig]:
    """Compose every job that is known, with a bar where there are many. is_shown: whether Hydra prints a single one."""
    if is_shown and not plan.is_sweep:
        GuardedLoader.checked = plan.composed
    if plan.count == 1:
        return list(plan.jobs or ())
    from expkit.core.progress import bar

    jobs = []
    with bar("composing", plan.count, "jobs") as advance:
        for one in plan.jobs or ():
            jobs.append(one)
            advance(1)
    return jobs


def _once(plan: Plan, jobs: list[JobConfig], is_ours: bool) -> list[JobConfig]:
    """Return the jobs, each once. is_ours: whether we start them. Raises ConfigError where others would run twins."""
    different, twins = once(jobs)
    if not twins or plan.space:
        return jobs
    if not is_ours:
        raise ConfigError(f"sweep: the same job is asked for more than once ({twins[0]}); give each value once")
    plan.notes.append(
        f"{count_noun(len(twins), 'job')} with the same config as another one will run once (e.g. {twins[0]})"
    )
    return different


def _check_all(jobs: list[JobConfig], check: Callable[[Config], None], space: Space | None = None) -> None:
    """Check every job. Raises ConfigError with the faults of all, each once."""
    faults: dict[str, list[int]] = {}
    for number, one in enumerate(jobs):
        try:
            check(one.config)
        except ConfigError as error:
            for fault in error.faults:
                told = _of_whole_numbers(fault, one.config, check, space) if space else ""
                faults.setdefault(told or fault, []).append(number)
    if faults:
        raise ConfigError(*(fault_of_jobs(fault, numbers, len(jobs)) for fault, numbers in faults.items()))


def _of_whole_numbers(fault: str, config: Config, check: Callable[[Config], None], space: Space) -> str:
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


def _run(plan: Plan, job: Job, sweep: Sweep | None) -> None:
    """Run the jobs of a plan as they are: composed, checked, and not read from a file again."""
    if sweep is not None:
        sweep(plan)
        return
    for one in plan.jobs or ():
        job(one.config, one.overrides)


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


def _start(arguments: list[str], job: Job) -> None:
    """Hand a command line to Hydra, which composes again and runs each job, or prints what was asked for."""

    def task(config: DictConfig) -> object:
        try:
            return job(plain(config), list(HydraConfig.get().overrides.task))
        except OSError as error:  # here, for Hydra answers it with a traceback
            if not (sentence := disk_fault(error)):
                raise
            print(f"error: {one_line(sentence)}", file=sys.stderr)
            sys.exit(1)

    previous, sys.argv = sys.argv, [sys.argv[0], *arguments]
    try:
        hydra_main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(task)()
    finally:
        sys.argv = previous


def _of_hydra(parsed: argparse.Namespace) -> list[str]:
    return [word for word in parsed.overrides if word.startswith("hydra")]


def _submit(start: Callable[[int], int], count: int, folder: Path, overrides: list[str], place: Place) -> None:
    """Have Hydra's launcher call start(0), start(1), ... on its machines, and wait for all of them.

    The launcher wants a config and composes one for each job; what is run is none of it, but what the sweep has frozen.
    """
    words = [*overrides, f"hydra.sweep.dir={quoted(str(folder.absolute()))}", "hydra.sweep.subdir=output"]
    with initialize_config_dir(str(place.folder()), version_base="1.3", job_name="run"):
        config = compose(place.config_name or "config", [*words, "hydra/hydra_logging=none"], return_hydra_config=True)
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks())
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=context, task_function=_by_number(start), config=config
        )
        launcher.launch([[] for _ in range(count)], 0)


def _by_number(start: Callable[[int], int]) -> TaskFunction:
    def task(config: DictConfig) -> int:
        from hydra.core.hydra_config import HydraConfig

        return start(HydraConfig.get().job.num)

    return task
