"""Facts about a run: its environment, its data, and a digest of its weights."""

import hashlib
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from expkit.core.escaping import name_bytes
from expkit.data.dataset import ImageDataset, Splits
from expkit.devices.device import auto, available_cores
from expkit.records.fingerprint import content_facts
from expkit.records.packages import package_versions

_VARIABLES = (
    "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUBLAS_WORKSPACE_CONFIG", "ONEDNN_MAX_CPU_ISA",
    "ATEN_CPU_CAPABILITY", "MKL_CBWR", "NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)  # fmt: skip


def environment_facts(config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return versions, hardware, and a few harmless environment variables."""
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": package_versions(),
        "device": _device(config),
        "cpu": _cpu_model(),
        "cores": available_cores(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
        "cuda": torch.version.cuda if gpus else None,
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }


def _device(config: Mapping[str, Any] | None) -> str:
    """Return the name of the config's device, with `auto` resolved for this machine."""
    name = str(config["device"]["name"]) if config else "auto"
    found = auto().type if name == "auto" else name
    return "gpu" if found == "cuda" else found


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


DataFacts = tuple[dict[str, Any], dict[str, list[str]]]


def data_facts(splits: Splits) -> DataFacts:
    """Return (classes, sizes and fingerprints of the splits, the lines on each split's files) without decoding."""
    assert splits.val is not None
    facts: dict[str, Any] = {"class_names": list(splits.train.class_names), "task": splits.train.task}
    lines = {}
    for split, data in (("train", splits.train), ("val", splits.val)):
        content, lines[split] = content_facts(data)
        facts[split] = {"images": len(data), "fingerprint": fingerprint(data), **content}
    return facts | {"notes": list(splits.notes)}, lines


def fingerprint(data: ImageDataset) -> str:
    """Return a sha256 over the names and targets of the samples, in their order."""
    digest = hashlib.sha256()
    for index in range(len(data)):
        name = name_bytes(data.sample_name(index))
        digest.update(name + b"\0" + data.targets[index].tobytes())
    return digest.hexdigest()


def weights_digest(model: torch.nn.Module) -> str:
    """Return a sha256 over the names and exact values of a model's state."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
