"""Weights from and to files of other programs: safetensors, and torch's own format, of which no code is executed."""

import io
import pickle
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from expkit.checkpoints.reader import read_checkpoint, weights_of
from expkit.checkpoints.safetensors_buffer import Packed
from expkit.checkpoints.writer import disk_space
from expkit.core.errors import ConfigError
from expkit.core.files import atomic_write, write_bytes
from expkit.core.manifest import CheckpointDamaged
from expkit.core.pickles import pickle_problem, refusal_of

TORCH_ENDINGS = (".pt", ".pth", ".bin", ".ckpt")
# Where training scripts put the weights; averaged ones come before others, as they do in our own checkpoints.
_INSIDE = (
    "state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "params_ema", "ema",
    "state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights", "params", "module",
)  # fmt: skip
_DEEPEST = 3  # a state dict lies at most so many names within others
_SHOWN = 6  # names of a file, in a message
_PLAIN = {  # what training scripts keep beside the weights: read as nothing, so that none of its code is called
    "argparse.Namespace", "pathlib.PosixPath", "pathlib.PurePosixPath", "pathlib.WindowsPath",
    "pathlib.PureWindowsPath", "numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar",
    "datetime.datetime", "datetime.timedelta",
}  # fmt: skip
_OTHERS = {  # first bytes -> what the file is
    b"\x89HDF": "an HDF5 file of Keras",
    b"\x1f\x8b": "compressed with gzip: unpack it first",
    b"version https://git-lfs": "the pointer of Git LFS: `git lfs pull` fetches the file itself",
    b"<": "a page of the web or XML: the download went wrong",
    b"{": "JSON",
}


class WeightsRefused(ConfigError):
    """A file that holds no weights that can be trusted; the text names it and says why."""


class _Nothing:
    """Replaces an object of which nothing is needed."""

    def __new__(cls, *arguments: object) -> "_Nothing":
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None: ...


def import_weights(path: Path) -> dict[str, Tensor]:
    """Return what `read_weights` does, without its note."""
    return read_weights(path)[0]


def read_weights(path: Path) -> tuple[dict[str, Tensor], str]:
    """Return the weights in a file by name, on the CPU, and a note on the part that was taken of several, or "".

    A state dict, or the model's part of a checkpoint, in safetensors or torch's own format, as the first bytes tell;
    the latter is read with `weights_only`. Raises WeightsRefused.
    """
    if not path.is_file():
        raise WeightsRefused(f"{path}: there is no such file")
    try:
        with path.open("rb") as file:
            head = file.read(300)
    except OSError as error:
        raise WeightsRefused(f"{path}: cannot be read: {error.strerror}") from error
    if head.startswith((b"PK\x03\x04", b"\x80")):
        return _from_torch(path)
    if head[8:9] == b"{" or (path.suffix == ".safetensors" and not _other(head)):
        return _from_safetensors(path), ""
    kind = _other(head) or "neither safetensors nor torch's own format"
    raise WeightsRefused(f"{path}: is damaged or no file of weights that can be read: it is {kind}")


def _other(head: bytes) -> str:
    """Return what else a file is, by its first bytes, or ""."""
    if head[257:262] == b"ustar":
        return "in torch's format before 0.1.10, which cannot be read safely: load it with torch and save it anew"
    return next((kind for first, kind in _OTHERS.items() if head.lstrip().startswith(first)), "")


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


def _from_torch(path: Path) -> tuple[dict[str, Tensor], str]:
    try:
        if problem := _zip_problem(path) or pickle_problem(path):
            raise ValueError(problem)
        # An open file: of a path torch would know its format by the ending.
        with torch.serialization.safe_globals([(_Nothing, name) for name in _PLAIN]), path.open("rb") as file:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken or hostile file can fail in any way
        raise WeightsRefused(f"{path}: is damaged or no file of plain tensors: {_reason(error)}") from error
    parts = _parts(content)
    if not parts:
        keys = f"; its keys: {_names(content)}" if isinstance(content, Mapping) and content else ""
        raise WeightsRefused(f"{path}: holds a {type(content).__name__} that is no state dict (tensors by name){keys}")
    known = [name for name in _INSIDE if name in parts]
    chosen = known[0] if known else max(parts, key=lambda name: (len(parts[name]), name == ""))
    others = [name for name in parts if name not in (chosen, "")]
    if not known and chosen and others:
        raise WeightsRefused(f"{path}: holds several state dicts ({_names(parts)}); save the one you mean by itself")
    found = {name: value.detach() for name, value in parts[chosen].items()}
    if odd := [name for name, one in found.items() if one.layout != torch.strided or one.is_quantized or one.is_meta]:
        raise WeightsRefused(f"{path}: its {_names(odd)} holds no plain numbers (sparse, quantized or without values)")
    return found, f"took its part {chosen}; there is {_names(others)}" if others else ""


def _parts(content: Any, depth: int = 0, seen: set[int] | None = None) -> dict[str, dict[str, Tensor]]:
    """Return the state dicts in a file's content by the key that holds each; "" is the whole.

    seen: the mappings visited so far; a file may name one in a thousand places, or within itself.
    """
    seen = set() if seen is None else seen
    if not isinstance(content, Mapping) or id(content) in seen:
        return {}
    seen.add(id(content))
    found = {}
    if depth < _DEEPEST:
        for key, value in content.items():
            inside = _parts(value, depth + 1, seen) if isinstance(key, str) and key != "optimizer" else {}
            if inside:
                known = [name for name in _INSIDE if name in inside]
                found[key] = inside[known[0] if known else next(iter(inside))]
    own = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if own and 2 * len(own) > len(content):  # scripts add a counter or two
        found[""] = own
    return found


def _names(names: Iterable[object]) -> str:
    shown = [str(name)[:60] for name in names]
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more


def _zip_problem(path: Path) -> str:
    """Return what is wrong with a zip file: torch itself never compares the checksums of its parts."""
    if not zipfile.is_zipfile(path):  # the format before torch 1.6
        return ""
    with zipfile.ZipFile(path) as file:
        parts = file.infolist()
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
            return "its parts are compressed, which torch never does"
        if sum(part.file_size for part in parts) > path.stat().st_size:
            return "its parts overlap, which torch never has them do"
        if not any(part.filename.endswith("data.pkl") for part in parts):
            return "it is a zip archive of something else"
        broken = file.testzip()
    return f"the checksum of its part {broken} does not agree" if broken else ""


def _reason(error: Exception) -> str:
    """Return what is wrong, without torch's own advice to load the file unsafely."""
    if isinstance(error, pickle.UnpicklingError):
        return refusal_of(error)
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def export_weights(state: Mapping[str, Tensor], path: Path) -> None:
    """Write a state dict for other programs, as safetensors or torch's own format by the path's ending.

    Raises WeightsRefused for another ending, and CheckpointNotWritten.
    """
    packed = Packed()
    packed.pack(state)
    if path.suffix == ".safetensors":
        with disk_space(path, packed.size):
            atomic_write(path, packed.write)
    elif path.suffix in TORCH_ENDINGS:
        plain = {name: value.detach().cpu().clone() for name, value in state.items()}
        data = io.BytesIO()  # torch turns a full disk into a RuntimeError about positions
        torch.save(plain, data)
        with disk_space(path, data.getbuffer().nbytes):
            write_bytes(path, data.getbuffer())
    else:
        raise WeightsRefused(f"{path}: weights go to .safetensors or {', '.join(TORCH_ENDINGS)}, not '{path.suffix}'")
