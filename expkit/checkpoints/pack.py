"""Tensors laid out as a safetensors file, in memory that is used again from one file to the next.

safetensors' own writer makes a copy of everything at each call and leaves no place to hash while writing; here the
one copy is also the snapshot that a thread can write while training goes on. A test holds both to the same bytes.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import BinaryIO

import torch
from torch import Tensor

CODES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.complex64: "C64",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.bool: "BOOL",
    torch.uint64: "U64", torch.uint32: "U32", torch.uint16: "U16", torch.uint8: "U8",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2",
}  # fmt: skip
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
        """Copy tensors of any device and memory layout in. Raises TypeError for a kind that the format has not."""
        layout: list[tuple[object, ...]] = [(name, value.dtype, value.shape) for name, value in tensors.items()]
        if layout != self._layout or not self.size:
            self._lay_out(tensors)
            self._layout = layout
        for name, view in self.views.items():
            view.copy_(tensors[name])

    def _lay_out(self, tensors: Mapping[str, Tensor]) -> None:
        # Wide types first, as safetensors does: so each tensor begins at a multiple of its own width.
        names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
        header, ends, end = {}, [], 0
        for name in names:
            code, shape = _code(name, tensors[name]), list(tensors[name].shape)
            begin, end = end, end + tensors[name].numel() * tensors[name].element_size()
            header[name] = {"dtype": code, "shape": shape, "data_offsets": [begin, end]}
            ends.append((begin, end))
        head = _header_bytes(header)
        self.buffer = torch.empty(len(head) + end, dtype=torch.uint8)
        self.buffer[: len(head)] = torch.frombuffer(bytearray(head), dtype=torch.uint8)
        data = self.buffer[len(head) :]
        self.views = {
            name: data[begin:end].view(tensors[name].dtype).view(tensors[name].shape)
            for name, (begin, end) in zip(names, ends, strict=True)
        }

    def write(self, file: BinaryIO) -> str:
        """Write the file's bytes and return their sha256 digest, in hexadecimal."""
        digest, data = hashlib.sha256(), self.buffer.numpy().data
        for begin in range(0, len(data), _SLICE):
            part = data[begin : begin + _SLICE]
            digest.update(part)
            file.write(part)
        return digest.hexdigest()


def _code(name: str, tensor: Tensor) -> str:
    if tensor.layout != torch.strided or tensor.dtype not in CODES:
        kind = tensor.layout if tensor.layout != torch.strided else tensor.dtype
        raise TypeError(f"a checkpoint holds dense tensors of plain numbers, not {kind} (at {name})")
    return CODES[tensor.dtype]


def _header_bytes(header: Mapping[str, object]) -> bytes:
    """Return the format's head: 8 bytes with the length of the JSON that follows, padded to a multiple of 8."""
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def is_finite(tensor: Tensor) -> bool:
    """Say whether a tensor holds no NaN and no infinity.

    One sum tells, at a fraction of the cost of looking at each number; in float64 no sum of float32 overflows.
    """
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    return not tensor.is_floating_point() or math.isfinite(tensor.sum(dtype=torch.float64))
