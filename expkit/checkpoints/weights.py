"""Weights from and to files of other programs: safetensors, and torch's own format without its ability to execute."""

import io
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from expkit.checkpoints.manifest import CheckpointDamaged
from expkit.checkpoints.pack import Packed
from expkit.checkpoints.read import read_checkpoint, weights_of
from expkit.checkpoints.whole import write_whole
from expkit.checkpoints.write import disk_space
from expkit.registry import ConfigError

TORCH_ENDINGS = (".pt", ".pth", ".bin", ".ckpt")
_INSIDE = ("state_dict", "model", "model_state_dict", "weights")  # where training scripts put the weights


class WeightsRefused(ConfigError):
    """A file that holds no weights that can be trusted; the text names it and says why."""


def import_weights(path: Path) -> dict[str, Tensor]:
    """Return the weights in a file by name, on the CPU: a state dict, or the model's part of a checkpoint.

    Takes .safetensors and torch's own files; these are read with `weights_only`. Raises WeightsRefused.
    """
    if path.suffix not in (".safetensors", *TORCH_ENDINGS):
        raise WeightsRefused(f"{path}: weights are in .safetensors or {', '.join(TORCH_ENDINGS)}, not '{path.suffix}'")
    if not path.is_file():
        raise WeightsRefused(f"{path}: there is no such file")
    return _from_safetensors(path) if path.suffix == ".safetensors" else _from_torch(path)


def _from_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load(path.read_bytes())
        if any(name.startswith("model/") for name in tensors):  # a checkpoint of ours: its manifest vouches for it
            return weights_of(read_checkpoint(path)[0])
    except (OSError, safetensors.SafetensorError, LookupError) as error:
        raise WeightsRefused(f"{path}: is damaged or no safetensors file: {error}") from error
    except CheckpointDamaged as error:
        raise WeightsRefused(str(error)) from error
    return tensors


def _from_torch(path: Path) -> dict[str, Tensor]:
    try:
        if problem := _zip_problem(path):
            raise ValueError(problem)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # there is no list of the ways in which a broken or hostile file can fail
        raise WeightsRefused(f"{path}: is damaged or no file of plain tensors: {_reason(error)}") from error
    for name in _INSIDE:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    if not _is_state_dict(content):
        raise WeightsRefused(f"{path}: holds a {type(content).__name__} that is no state dict (tensors by name)")
    return {name: value.detach() for name, value in content.items()}


def _zip_problem(path: Path) -> str:
    """Return what is wrong with a zip file: torch itself never compares the checksums of its parts."""
    if not zipfile.is_zipfile(path):  # the format before torch 1.6
        return ""
    with zipfile.ZipFile(path) as file:
        if any(part.compress_type != zipfile.ZIP_STORED for part in file.infolist()):
            return "its parts are compressed, which torch never does"
        broken = file.testzip()
    return f"the checksum of its part {broken} does not agree" if broken else ""


def _is_state_dict(content: Any) -> bool:
    return isinstance(content, Mapping) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    )


def _reason(error: Exception) -> str:
    """Say what is wrong, without torch's own advice to load the file unsafely."""
    if isinstance(error, pickle.UnpicklingError):
        code = re.search(r"GLOBAL (\S+)", str(error))
        return f"it asks for {code[1]}, which can execute code" if code else "it is no plain pickle of tensors"
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def export_weights(state: Mapping[str, Tensor], path: Path) -> None:
    """Write a state dict for other programs, as safetensors or torch's own format by the path's ending.

    Raises WeightsRefused for another ending, and CheckpointNotWritten.
    """
    packed = Packed()
    packed.pack(state)
    if path.suffix == ".safetensors":
        with disk_space(path, packed.size):
            write_whole(path, packed.write)
    elif path.suffix in TORCH_ENDINGS:
        plain = {name: value.detach().cpu().clone() for name, value in state.items()}
        data = io.BytesIO()  # torch turns a full disk into a RuntimeError about positions
        torch.save(plain, data)
        with disk_space(path, data.getbuffer().nbytes):
            write_whole(path, lambda file: file.write(data.getbuffer()))
    else:
        raise WeightsRefused(f"{path}: weights go to .safetensors or {', '.join(TORCH_ENDINGS)}, not '{path.suffix}'")
