"""From a command line to checked configs and running jobs: the way through Hydra, which only this file starts."""

import argparse
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, ClassVar

from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.main import main as hydra_main
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from expkit.composing import POOL, Config, FileConfigSource, conf_folder, guarded
from expkit.jobs import JobConfig, Plan, fault_of_jobs, plan_jobs, split_words
from expkit.onejob import Place, compose_one, plain, without_hydra
from expkit.registry import ConfigError

__all__ = ["Config", "JobConfig", "Plan", "compose_one", "conf_folder", "fault_of_jobs", "launch", "plain"]

Job = Callable[[Config, list[str]], object]
Sweep = Callable[[Plan], Sequence[float | None]]  # runs a plan's jobs; returns the score of each, None where it failed


def launch(
    arguments: list[str], check: Callable[[Config], None], job: Job, sweep: Sweep | None = None, dry: bool = False
) -> None:
    """Compose and check every job first, and only then start them: job(config, overrides).

    sweep: runs the jobs of a sweep whose launcher is our pool; without one they run here, one after the other. dry:
    hands a plan to it in any case. Raises ConfigError for whatever a user can mend; nothing has been acted upon then.
    """
    arguments = sorted(arguments, key=lambda word: word not in ("-m", "--multirun"))  # argparse wants it in front
    parsed, unknown = get_args_parser().parse_known_args(arguments)
    _refuse_flags(parsed, unknown)
    if parsed.shell_completion:
        from expkit.completion import answer

        if answer(parsed.overrides):
            return
    place = Place(parsed.config_name, parsed.config_dir, parsed.config_path)
    folder = place.folder()
    with guarded():
        Plugins.instance().register(PoolLauncher)
        plan = Plan()
        if not (parsed.hydra_help or parsed.shell_completion):
            plan = plan_jobs(parsed.overrides, parsed.multirun, place)
            jobs = _compose_all(plan)
            if not (parsed.help or parsed.cfg or parsed.info):
                _check_all(jobs, check)
                if plan.jobs is not None and (dry or (plan.is_sweep and plan.launcher.get("_target_") == POOL)):
                    plan.jobs = iter(jobs)
                    _run(plan, job, sweep)
                    return
        if dry:
            raise ConfigError("--dry: this sweeper chooses its jobs as it goes; there is no table of them beforehand")
        FileConfigSource.read_all = plan.is_sweep  # whatever is composed from now on, is as the files are now
        PoolLauncher.sweep, PoolLauncher.words = sweep, plan.words
        kept = [word for word in arguments if word not in split_words(arguments)[1]]
        if parsed.help and plan.is_sweep:  # Hydra's help knows no sweep: it tells of the first job
            flags = [word for word in kept if word not in (*parsed.overrides, "-m", "--multirun")]
            kept = [*flags, *(jobs[0].overrides if jobs else [])]
        _start([*kept, f"--config-path={folder}"], job)


def _compose_all(plan: Plan) -> list[JobConfig]:
    """Compose every job that is known, with a bar where there are many."""
    if plan.count == 1:
        return list(plan.jobs or ())
    from expkit.progress import bar

    jobs = []
    with bar("composing", plan.count) as advance:
        for one in plan.jobs or ():
            jobs.append(one)
            advance(1)
    return jobs


def _check_all(jobs: list[JobConfig], check: Callable[[Config], None]) -> None:
    """Check every job. Raises ConfigError with the faults of all, each once."""
    faults: dict[str, list[int]] = {}
    for number, one in enumerate(jobs):
        try:
            check(one.config)
        except ConfigError as error:
            for fault in error.faults:
                faults.setdefault(fault, []).append(number)
    if faults:
        raise ConfigError(*(fault_of_jobs(fault, numbers, len(jobs)) for fault, numbers in faults.items()))


def _run(plan: Plan, job: Job, sweep: Sweep | None) -> None:
    """Run the jobs of a plan as they are: composed, checked, and not read from a file again."""
    if sweep is not None:
        sweep(plan)
        return
    for one in plan.jobs or ():
        job(one.config, one.overrides)


def _refuse_flags(parsed: argparse.Namespace, unknown: list[str]) -> None:
    if unknown:
        key, _, value = unknown[0].lstrip("-").partition("=")
        raise ConfigError(
            f"{unknown[0]}: there is no such flag; an override has no dashes: {key}={value or '…'}; see"
            " `python -m expkit.run --help`"
        )
    if parsed.experimental_rerun:
        raise ConfigError("--experimental-rerun: loads a pickle, which can run code; give the overrides again")
    asked = [flag for flag in ("run", "multirun", "cfg", "info", "shell_completion") if getattr(parsed, flag)]
    if len(asked) > 1:
        raise ConfigError(f"command line: takes one of {' and '.join('--' + flag for flag in asked)} at a time")
    if parsed.resolve and not (parsed.cfg or parsed.help):
        raise ConfigError("--resolve: goes with --cfg or --help; add one of them")


def _start(arguments: list[str], job: Job) -> None:
    """Hand a command line to Hydra, which composes again and runs each job, or prints what was asked for.

    What a job returns, its score, is what Hydra's sweepers search by.
    """

    def task(config: DictConfig) -> object:
        return job(plain(config), list(HydraConfig.get().overrides.task))

    previous, sys.argv = sys.argv, [sys.argv[0], *arguments]
    try:
        hydra_main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(task)()
    finally:
        sys.argv = previous


class PoolLauncher(Launcher):
    """Our pool of processes, for a sweeper of Hydra's plugins that chooses its jobs as it goes.

    It bears a name among Hydra's own, for Hydra takes launchers from there and from hydra_plugins alone.
    """

    __module__ = POOL.rpartition(".")[0]
    sweep: ClassVar[Sweep | None] = None
    words: ClassVar[list[str]] = []

    def __init__(self, n_jobs: int | None = None) -> None:
        self.n_jobs = n_jobs

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.loader, self.config, self.task = hydra_context.config_loader, config, task_function

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        composed = [self.loader.load_sweep_config(self.config, list(words)) for words in job_overrides]
        returns = [JobReturn(overrides=list(one.hydra.overrides.task)) for one in composed]
        if (sweep := PoolLauncher.sweep) is None:
            for one, config in zip(returns, composed, strict=True):
                one.return_value, one.status = self.task(without_hydra(config)), JobStatus.COMPLETED
            return returns
        jobs = [
            JobConfig(list(one.overrides or ()), plain(without_hydra(config)))
            for one, config in zip(returns, composed, strict=True)
        ]
        launcher: Any = OmegaConf.to_container(self.config.hydra.launcher)
        chosen = [word for job in jobs for word in job.overrides if word not in self.words]
        varied = list(dict.fromkeys(word.partition("=")[0] for word in chosen))
        plan = Plan(True, iter(jobs), self.words, launcher, str(self.config.hydra.sweep.dir), varied, is_batch=True)
        for one, score in zip(returns, sweep(plan), strict=True):
            failed = score is None
            one.status = JobStatus.FAILED if failed else JobStatus.COMPLETED
            one.return_value = RuntimeError(f"the job {' '.join(one.overrides or ())} failed") if failed else score
        return returns


_HOME = ModuleType(PoolLauncher.__module__)  # where Hydra looks for the class by its name
vars(_HOME)["PoolLauncher"] = PoolLauncher
sys.modules[PoolLauncher.__module__] = _HOME
