"""What was true when a run started: the code, the environment, the data."""

import hashlib
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from expkit.data.dataset import ImageDataset, Splits

_PACKAGES = ("torch", "torchvision", "numpy", "pillow", "hydra-core", "omegaconf", "safetensors", "tensorboardX")
_VARIABLES = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUBLAS_WORKSPACE_CONFIG")


def code_facts() -> tuple[dict[str, Any], str]:
    """Return (commit and whether the tree is changed, the uncommitted diff) of the working folder's repository."""
    commit = _git("rev-parse", "HEAD").strip()
    if not commit:
        return {"commit": None, "changed": None}, ""
    patch = _git("diff", "HEAD")
    return {"commit": commit, "changed": bool(patch)}, patch


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, errors="replace", timeout=20)
    except (OSError, subprocess.TimeoutExpired):  # no git here, or a huge tree: the record says commit null
        return ""
    return done.stdout if done.returncode == 0 else ""


def environment_facts() -> dict[str, Any]:
    """Return versions and hardware; of the environment's variables only a short list of harmless ones."""
    packages: dict[str, str | None] = {}
    for name in (*_PACKAGES, "expkit"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = None
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": packages,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }


def data_facts(splits: Splits) -> dict[str, Any]:
    """Return classes, sizes and fingerprints of the splits; no image is opened."""
    assert splits.val is not None
    return {
        "class_names": list(splits.train.class_names),
        "task": splits.train.task,
        "train": {"images": len(splits.train), "fingerprint": fingerprint(splits.train)},
        "val": {"images": len(splits.val), "fingerprint": fingerprint(splits.val)},
        "notes": list(splits.notes),
    }


def fingerprint(data: ImageDataset) -> str:
    """Return a sha256 over the names and targets of the samples, in their order."""
    digest = hashlib.sha256()
    for index in range(len(data)):
        digest.update(data.sample_name(index).encode() + b"\0" + data.targets[index].tobytes())
    return digest.hexdigest()


def weights_digest(model: torch.nn.Module) -> str:
    """Return a sha256 over the names and exact values of a model's state."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def relative(path: Path) -> str:
    """Return a path as a user types it: relative to where the command was given, if it lies below."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
