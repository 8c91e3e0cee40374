"""Images given from Python: paths, Pillow images, NumPy arrays and tensors, one or many."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from expkit.core.errors import ConfigError
from expkit.core.user_folders import expanded
from expkit.data import deep
from expkit.data.decode import BadImage, Decoder, decode_file

Picture = str | os.PathLike[str] | Image.Image | Tensor | NDArray[Any]

_EXPECTED = "expected paths, Pillow images, NumPy arrays and tensors, one or many"
_SHAPES = "expected (H, W), (H, W, C), (C, H, W), and batches of them, with C = 1, 3 or 4"
_CHANNELS = (1, 3, 4)


def pictures(images: object, decoder: Decoder, where: str = "images") -> Iterator[tuple[Tensor, str]]:
    """Yield each image as (3, H, W) uint8 with its name, lazily.

    Raises ConfigError for what is no image, BadImage for a file that cannot be read.
    """
    if isinstance(images, str | os.PathLike):
        path = expanded(Path(images))
        yield decode_file(path, decoder), str(path)
    elif isinstance(images, Image.Image):
        yield _of_pillow(images, decoder, where), where
    elif isinstance(images, np.ndarray) and images.dtype.kind in "OUS":
        yield from _each(images.tolist(), decoder, where)
    elif isinstance(images, np.ndarray | Tensor):
        for number, (pixels, is_one) in enumerate(_of_array(images, decoder, where)):
            yield pixels, where if is_one else f"{where}[{number}]"
    elif isinstance(images, Iterable) and not isinstance(images, Mapping | bytes | bytearray | memoryview):
        yield from _each(images, decoder, where)
    else:
        shown = repr(images)[:40] if isinstance(images, int | float | bool | None) else f"a {type(images).__name__}"
        remedy = "; Image.open(io.BytesIO(data)) reads a file's bytes" * isinstance(images, bytes)
        raise ConfigError(f"{where}: {_EXPECTED}, got {shown}{remedy}")


def _each(images: Iterable[object], decoder: Decoder, where: str) -> Iterator[tuple[Tensor, str]]:
    for number, image in enumerate(images):
        if where.count("[") > 2 or image is images:
            raise ConfigError(f"{where}: {_EXPECTED}, got lists within lists")
        yield from pictures(image, decoder, f"{where}[{number}]")


def _of_pillow(image: Image.Image, decoder: Decoder, where: str) -> Tensor:
    try:
        return torch.from_numpy(decoder.pixels(image)).permute(2, 0, 1)
    except Exception as error:  # Pillow reads the file only now, and may raise anything on a damaged one
        raise BadImage(getattr(image, "filename", "") or where, str(error)) from error


def _of_array(array: NDArray[Any] | Tensor, decoder: Decoder, where: str) -> Iterator[tuple[Tensor, bool]]:
    """Yield (a (3, H, W) uint8 image, whether it is the only one)."""
    values = _as_numpy(array, where)
    shape = tuple(values.shape)
    last_first = isinstance(array, np.ndarray)  # if both ends may be the channels: NumPy has them last, torch first
    if 0 in shape or not 2 <= len(shape) <= 4:
        raise ConfigError(f"{where}: has the shape {shape}; {_SHAPES}")
    if len(shape) == 2:
        values = values[..., None]
    ends = [end for end in ((-1, -3) if last_first else (-3, -1)) if values.shape[end] in _CHANNELS]
    if not ends:
        raise ConfigError(f"{where}: has the shape {shape}; {_SHAPES}")
    values = np.moveaxis(values, ends[0] if len(shape) > 2 else -1, -3)
    for one in values if len(shape) == 4 else [values]:
        pixels = _eight_bits(one, decoder, where)[:3]  # transparency is dropped, as that of files is
        yield torch.from_numpy(np.array(np.broadcast_to(pixels, (3, *pixels.shape[1:])), order="C")), len(shape) < 4


def _as_numpy(array: NDArray[Any] | Tensor, where: str) -> NDArray[Any]:
    if isinstance(array, np.ndarray):
        return array
    try:
        tensor = array.detach().cpu()
        return (tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor).numpy()
    except (TypeError, RuntimeError, NotImplementedError) as error:  # sparse, quantized, without values
        raise ConfigError(f"{where}: is a tensor without plain pixels ({array.layout}, {array.device})") from error


def _eight_bits(values: NDArray[Any], decoder: Decoder, where: str) -> NDArray[np.uint8]:
    """Return pixels as uint8: floats are in 0..1 as in torchvision; 16 bits are scaled as in files."""
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.uint16:
        return deep.to_eight_bits(values, decoder.deep_range or deep.SIXTEEN_BITS)
    if values.dtype.kind != "f":
        raise ConfigError(f"{where}: holds {values.dtype} values; expected uint8 from 0 to 255 or floats from 0 to 1")
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):  # NaN is neither
        found = "NaN or infinite values" if np.isnan([low, high]).any() else f"floats from {low:.3g} to {high:.3g}"
        raise ConfigError(f"{where}: holds {found}; expected floats from 0 to 1, before normalisation, or uint8")
    pixels: NDArray[np.uint8] = np.rint(values * 255).astype(np.uint8)
    return pixels
