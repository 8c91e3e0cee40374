"""What Hydra itself starts: its help and --cfg, jobs under its launchers, a run with a folder or log of its own."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.experimental.callback import Callback
from hydra.main import main as hydra_main
from hydra.types import HydraContext
from omegaconf import DictConfig

from expkit.config.compose import Place, plain
from expkit.config.conf_folder import conf_folder
from expkit.config.hydra_loader import Config, Files, guarded
from expkit.config.plan import Plan
from expkit.core.escaping import one_line, quoted
from expkit.core.files import disk_fault


def run_by_hydra(plan: Plan, job: Callable[[Config, list[str]], object]) -> None:
    """Let Hydra start the jobs of a plan with `for_hydra`, each by job(config, overrides).

    That is a plan for another launcher, or for a run with a folder, a log or callbacks of Hydra's.
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
        start_hydra(plan.for_hydra, task)


def start_hydra(arguments: list[str], task: Callable[[DictConfig], object] = lambda config: None) -> None:
    """Pass a command line to Hydra, which composes again and runs each job, or prints what was asked for."""
    previous, sys.argv = sys.argv, [sys.argv[0], *arguments]
    try:
        hydra_main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(task)()
    finally:
        sys.argv = previous


def submit(
    start: Callable[[int], int], count: int, folder: Path, overrides: list[str], place: Place, files: Files
) -> None:
    """Let Hydra's launcher call start(0), start(1), ... on its machines, and wait for all of them.

    The launcher needs a config and composes one for each job; what runs is what the sweep has frozen.
    """
    words = [*overrides, f"hydra.sweep.dir={quoted(str(folder.absolute()))}", "hydra.sweep.subdir=output"]
    with guarded(files), initialize_config_dir(str(place.folder()), version_base="1.3", job_name="run"):
        config = compose(place.config_name or "config", [*words, "hydra/hydra_logging=none"], return_hydra_config=True)
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        none: Any = Callback()  # each of its methods does nothing
        context = HydraContext(config_loader=hydra.config_loader, callbacks=none)

        def task(config: DictConfig) -> int:
            return start(HydraConfig.get().job.num)

        launcher = Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=config)
        launcher.launch([[] for _ in range(count)], 0)
