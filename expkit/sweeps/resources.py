"""How the machine is divided among the jobs of a sweep: CPU cores, threads, and one GPU each."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from expkit.core.errors import ConfigError
from expkit.devices.device import available_cores, chosen_threads
from expkit.sweeps.worker import Share

_MOST_AT_ONCE = 8  # jobs on CPUs alone, by default: each holds a model and its data in memory


def share_out(configs: Sequence[Mapping[str, Any]], n_jobs: object, gpus: int) -> list[Share]:
    """Return a share for each job that may run at once.

    n_jobs: hydra.launcher.n_jobs, None for one job per GPU, or else so many that each core has a thread. Raises
    ConfigError.
    """
    if n_jobs is not None and (isinstance(n_jobs, bool) or not isinstance(n_jobs, int) or n_jobs < 1):
        raise ConfigError(f"hydra.launcher.n_jobs: expected an integer from 1 up or null, got {n_jobs!r}")
    names = {str(config["device"]["name"]) for config in configs}
    on_gpus = gpus > 0 and names != {"cpu"}
    count = n_jobs if isinstance(n_jobs, int) else _count(configs, names, gpus if on_gpus else 0)
    count = max(min(count, len(configs)), 1)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    ids = [one.strip() for one in visible.split(",") if one.strip()] or [str(index) for index in range(gpus)]
    has_index = any(config["device"].get("index") for config in configs)
    one_each = on_gpus and names <= {"auto", "gpu", "cpu"} and not has_index
    cores = max(available_cores() // count, 1)
    return [Share(cores, ids[number % len(ids)] if one_each else None) for number in range(count)]


def _count(configs: Sequence[Mapping[str, Any]], names: set[str], gpus: int) -> int:
    if names - {"auto", "gpu", "cpu"}:
        return 1  # a job that takes several devices takes them all
    if gpus:
        return gpus
    threads = max(threads_of(config, Share(1)) for config in configs)
    return min(available_cores() // threads, _MOST_AT_ONCE)


def threads_of(config: Mapping[str, Any], share: Share) -> int:
    """Return the threads that a job runs with: those of its config, or its share of the cores."""
    threads = config["device"].get("threads", "auto")
    return threads if isinstance(threads, int) else min(share.cores, chosen_threads())
