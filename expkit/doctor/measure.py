"""Measure this machine's resources and a config's needs."""

import math
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from expkit.config.registry import checkpoints, datasets
from expkit.core.user_folders import expanded
from expkit.data.dataset import ImageDataset
from expkit.data.datasets import DataOptions
from expkit.devices.device import available_cores
from expkit.doctor.machine import Gpu, Machine, Needs
from expkit.models.pretrained import build_untrained

Config = Mapping[str, Any]
_SHARED_MEMORY = Path("/dev/shm")
_CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # version 2: `200000 100000`, or `max 100000`
_ADAM_COPIES = 3  # the weights and the two moments of Adam


def measure_machine(output_dir: str, used: Collection[torch.device]) -> Machine:
    """Return the resources of this machine for a run on the devices `used`."""
    soft, hard = open_file_limits()
    place = expanded(output_dir).absolute()
    disk = next(folder for folder in (place, *place.parents) if folder.is_dir())  # where output_dir would be made
    shared = shutil.disk_usage(_SHARED_MEMORY) if _SHARED_MEMORY.is_dir() else None
    return Machine(
        cores=usable_cores(),
        open_files=soft,
        open_files_most=hard,
        disk_free=shutil.disk_usage(disk).free,
        shared_free=shared.free if shared else None,
        shared_total=shared.total if shared else None,
        gpus=measure_gpus(used),
    )


def usable_cores(quota: Path = _CGROUP_QUOTA) -> int:
    """Return the cores that this process may use, by its affinity and the quota of its container."""
    cores = available_cores()
    try:
        granted, _, period = quota.read_text().strip().partition(" ")
    except OSError:  # no such control group, so no quota
        return cores
    return cores if granted == "max" else max(min(cores, math.ceil(int(granted) / int(period))), 1)


def open_file_limits() -> tuple[int, int]:
    """Return the soft and the hard limit of open files."""
    if os.name != "posix":
        return 1 << 20, 1 << 20  # Windows has no such limit
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, hard = (1 << 20 if limit == resource.RLIM_INFINITY else limit for limit in limits)
    return soft, hard


def measure_gpus(used: Collection[torch.device]) -> tuple[Gpu, ...]:
    """Return the memory of each visible GPU; () if the config uses none."""
    chosen = {device.index or 0 for device in used if device.type == "cuda"}
    return tuple(
        Gpu(
            index, torch.cuda.get_device_name(index), *torch.cuda.mem_get_info(index),
            torch.cuda.memory_reserved(index), index in chosen,
        )
        for index in range(torch.cuda.device_count() if chosen else 0)
    )  # fmt: skip


def measure_needs(config: Config, data: ImageDataset, height: int, width: int) -> Needs:
    """Return the needs of a run of this config. height, width: pixels that the train transforms give."""
    options: DataOptions = datasets.shared(config["dataset"])
    automatic = 0 if data.in_memory else available_cores()
    batch = max(config["batch_size"], config["eval_batch_size"] or 0)
    keeps = checkpoints.build(config["checkpoint"]) is not None
    return Needs(
        workers=automatic if options.num_workers == "auto" else options.num_workers,
        batch_size=config["batch_size"],
        batch_bytes=batch * 3 * height * width,
        checkpoint_bytes=checkpoint_bytes(config["model"], len(data.class_names)) if keeps else 0,
        output_dir=config["output_dir"],
        reads_files=not data.in_memory,
        eval_batch_size=config["eval_batch_size"] or 0,
    )


def checkpoint_bytes(node: Config, num_classes: int) -> int:
    """Return the bytes of a checkpoint of the model with Adam's moments, the largest optimizer state."""
    model = build_untrained(node, num_classes)
    return _ADAM_COPIES * sum(int(tensor.nbytes) for tensor in model.state_dict().values())
