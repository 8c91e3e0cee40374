"""What this machine has, and what a config will ask of it, in numbers."""

import math
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from expkit.config.registry import checkpoints, datasets, models
from expkit.core.user_folders import expanded
from expkit.data.dataset import ImageDataset
from expkit.data.datasets import DataOptions
from expkit.devices.device import available_cores
from expkit.doctor.machine import Gpu, Machine, Needs

Config = Mapping[str, Any]
_SHARED_MEMORY = Path("/dev/shm")
_CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # version 2: `200000 100000`, or `max 100000`
_ADAM_COPIES = 3  # the weights and the two moments that Adam keeps of each


def measure_machine(output_dir: str, used: Collection[torch.device]) -> Machine:
    """Look at this machine, as a run on the devices with this output_dir would find it."""
    soft, hard = open_file_limits()
    shared = shutil.disk_usage(_SHARED_MEMORY) if _SHARED_MEMORY.is_dir() else None
    return Machine(
        cores=usable_cores(),
        open_files=soft,
        open_files_most=hard,
        disk_free=shutil.disk_usage(_existing(expanded(output_dir))).free,
        shared_free=shared.free if shared else None,
        shared_total=shared.total if shared else None,
        gpus=measure_gpus(used),
    )


def usable_cores(quota: Path = _CGROUP_QUOTA) -> int:
    """Return the cores that this process may use: those it may run on, or the share that its container grants."""
    cores = available_cores()
    try:
        granted, _, period = quota.read_text().strip().partition(" ")
    except OSError:  # no such control group: nothing is rationed
        return cores
    return cores if granted == "max" else max(min(cores, math.ceil(int(granted) / int(period))), 1)


def open_file_limits() -> tuple[int, int]:
    """Return the soft and the hard limit of open files of this process."""
    if os.name != "posix":
        return 1 << 20, 1 << 20  # Windows has no such limit
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, hard = (1 << 20 if limit == resource.RLIM_INFINITY else limit for limit in limits)
    return soft, hard


def _existing(path: Path) -> Path:
    """Return the nearest folder above that is there, which is on the disk where the path would be made."""
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.is_dir())


def measure_gpus(used: Collection[torch.device]) -> tuple[Gpu, ...]:
    """Return the memory of each visible GPU; none where the config computes on the processor."""
    chosen = {device.index or 0 for device in used if device.type == "cuda"}
    if not chosen:
        return ()
    return tuple(_measure_gpu(index, index in chosen) for index in range(torch.cuda.device_count()))


def _measure_gpu(index: int, chosen: bool) -> Gpu:
    free, total = torch.cuda.mem_get_info(index)
    own = torch.cuda.memory_reserved(index)
    return Gpu(index, torch.cuda.get_device_name(index), free, total, own, chosen)


def measure_needs(config: Config, data: ImageDataset, height: int, width: int) -> Needs:
    """Return what a run of this config will ask for. height, width: pixels of what the train transforms give."""
    options: DataOptions = datasets.shared(config["dataset"])
    workers = available_cores() if options.num_workers == "auto" else options.num_workers
    if options.num_workers == "auto" and data.in_memory:
        workers = 0
    batch = max(config["batch_size"], config["eval_batch_size"] or 0)
    keeps = checkpoints.build(config["checkpoint"]) is not None
    return Needs(
        workers=workers,
        batch_size=config["batch_size"],
        batch_bytes=batch * 3 * height * width,
        checkpoint_bytes=checkpoint_bytes(config["model"], len(data.class_names)) if keeps else 0,
        output_dir=config["output_dir"],
        reads_files=not data.in_memory,
        eval_batch_size=config["eval_batch_size"] or 0,
    )


def checkpoint_bytes(node: Config, num_classes: int) -> int:
    """Return the bytes of a checkpoint of the model with Adam's moments, which is as large as they get."""
    without_weights = {option: value for option, value in node.items() if option != "weights"}
    with torch.random.fork_rng(devices=[]):
        model: nn.Module = models.build(without_weights, num_classes=num_classes)
    return _ADAM_COPIES * sum(int(tensor.nbytes) for tensor in model.state_dict().values())
