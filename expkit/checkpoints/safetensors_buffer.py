"""Tensors laid out as a safetensors file, in memory that is reused from one file to the next.

safetensors' own writer copies everything at each call and cannot hash while writing; here the one copy is also the
snapshot that a thread can write while training continues. A test holds both to the same bytes.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

# In the order in which the library lays them out: wide ones first, so that each begins at a multiple of its own width.
CODES = {
    torch.uint64: "U64", torch.int64: "I64", torch.float64: "F64", torch.complex64: "C64",
    torch.float32: "F32", torch.uint32: "U32", torch.int32: "I32",
    torch.bfloat16: "BF16", torch.float16: "F16", torch.uint16: "U16", torch.int16: "I16",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2",
    torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
_ORDER = {dtype: place for place, dtype in enumerate(CODES)}
_WIDTHS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_SLICE = 4 * 1024 * 1024  # bytes: what is hashed is still in the processor's cache when it is written


class Packed:
    """The bytes of a safetensors file: `buffer` is the whole file, `views` are the tensors inside it."""

    def __init__(self) -> None:
        self.buffer = torch.empty(0, dtype=torch.uint8)
        self.views: dict[str, Tensor] = {}
        self._layout: list[tuple[object, ...]] = []

    @property
    def size(self) -> int:
        """The file's size in bytes."""
        return self.buffer.numel()

    @torch.no_grad()
    def pack(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy tensors of any device and memory layout in. Raises TypeError for a kind that the format lacks."""
        layout: list[tuple[object, ...]] = [(name, value.dtype, value.shape) for name, value in tensors.items()]
        if layout != self._layout or not self.size:
            self._lay_out(tensors)
            self._layout = layout
        for name, view in self.views.items():
            _copy(view, tensors[name])

    def _lay_out(self, tensors: Mapping[str, Tensor]) -> None:
        _check_kinds(tensors)
        header, places, end = {}, {}, 0
        for name in sorted(tensors, key=lambda name: (_ORDER[tensors[name].dtype], name)):
            tensor = tensors[name]
            begin, end = end, end + tensor.numel() * tensor.element_size()
            header[name] = {"dtype": CODES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
            places[name] = slice(begin, end)
        head = _header_bytes(header)
        self.buffer = torch.empty(len(head) + end, dtype=torch.uint8)
        self.buffer[: len(head)] = torch.frombuffer(bytearray(head), dtype=torch.uint8)
        data = self.buffer[len(head) :]
        self.views = {
            name: data[place].view(tensors[name].dtype).view(tensors[name].shape) for name, place in places.items()
        }

    def write(self, file: BinaryIO) -> str:
        """Write the file's bytes and return their sha256 digest, in hexadecimal."""
        digest, data = hashlib.sha256(), self.buffer.numpy().data
        for begin in range(0, len(data), _SLICE):
            part = data[begin : begin + _SLICE]
            digest.update(part)
            file.write(part)
        return digest.hexdigest()


def _copy(view: Tensor, tensor: Tensor) -> None:
    """Copy a tensor, from the CPU by numpy, which does it in this thread.

    torch shares the work among threads that wait for each other: where a loader's workers have the cores, that takes
    20 times as long.
    """
    if tensor.is_cpu:
        np.copyto(_numbers(view), _numbers(tensor.detach().resolve_conj().resolve_neg()))
    else:
        view.copy_(tensor)


def _numbers(tensor: Tensor) -> np.ndarray[Any, Any]:
    """Return a tensor's memory as whole numbers of the same width, since numpy has no bfloat16."""
    return tensor.view(_WIDTHS[tensor.element_size()]).numpy()


def _check_kinds(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.dtype not in CODES:
            kind = tensor.dtype if tensor.layout == torch.strided else tensor.layout
            raise TypeError(f"a checkpoint holds dense tensors of plain numbers, not {kind} (at {name})")


def _header_bytes(header: Mapping[str, object]) -> bytes:
    """Return the format's head: 8 bytes with the length of the JSON that follows, padded to a multiple of 8."""
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def is_finite(tensor: Tensor) -> bool:
    """Return True if a tensor holds no NaN and no infinity.

    tensor: on the CPU. One sum shows it, at a fraction of the cost of a look at each number. Finite numbers can add up
    to infinity, but in float64 those of the narrower types cannot.
    """
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    if tensor.dtype == torch.float32:
        with np.errstate(over="ignore", invalid="ignore"):
            if math.isfinite(tensor.numpy().sum()):
                return True
    return not tensor.is_floating_point() or math.isfinite(tensor.sum(dtype=torch.float64))
