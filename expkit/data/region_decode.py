"""Decode only the region of a JPEG that RandomResizedCrop keeps: same draws, same pixels, less decoding."""

import os
from contextlib import contextmanager
from functools import cache, lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from expkit.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator


def require() -> None:
    """Raise ConfigError if the region decoder is not installed."""
    if find_spec("nvidia") is None or find_spec("nvidia.nvimgcodec") is None:
        raise ConfigError("dataset.decoder: region needs the package nvidia-nvimgcodec; install expkit[region]")


def cropped(crop: v2.RandomResizedCrop, data: bytes, size: tuple[int, int]) -> Tensor | None:
    """Return the crop of a complete JPEG of `size` (height, width): (3, h, w) uint8, None if it is damaged.

    Draws from torch's default generator exactly as the crop would with the decoded image.
    """
    box = crop.make_params([torch.empty(3, *size, device="meta")])
    top, left, height, width = (int(box[key]) for key in ("top", "left", "height", "width"))
    pixels = _decode(data, top, left, height, width)
    if pixels is None:
        return None
    options: dict[str, Any] = {"interpolation": crop.interpolation, "antialias": crop.antialias}
    resized: Tensor = functional.resize(pixels, crop.size, **options)
    return resized


def _decode(data: bytes, top: int, left: int, height: int, width: int) -> Tensor | None:
    nvimgcodec = _library()
    decoder, options = _decoder(os.getpid())
    region = nvimgcodec.Region(top, left, top + height, left + width)
    try:
        image = decoder.decode(nvimgcodec.CodeStream(data).get_sub_code_stream(region=region), params=options)
    except Exception:  # its exceptions are not documented: fall back to Pillow
        return None
    return None if image is None else torch.from_numpy(np.asarray(image)).permute(2, 0, 1)


@lru_cache(maxsize=1)
def _decoder(process: int) -> tuple[Any, Any]:
    """Return this process's decoder and its options; a forked worker must not use its parent's."""
    nvimgcodec = _library()
    decoder = nvimgcodec.Decoder(
        device_id=nvimgcodec.NVIMGCODEC_DEVICE_CPU_ONLY,
        backends=[nvimgcodec.Backend(nvimgcodec.BackendKind.CPU_ONLY)],
        max_num_cpu_threads=1,
        options=":fancy_upsampling=1",  # as libjpeg-turbo and Pillow do it
    )
    return decoder, nvimgcodec.DecodeParams(color_spec=nvimgcodec.ColorSpec.SRGB, apply_exif_orientation=False)


@cache
def _library() -> Any:
    with _silence():
        from nvidia import nvimgcodec
    return nvimgcodec


@contextmanager
def _silence() -> "Iterator[None]":
    """Redirect stderr to /dev/null: on import the library complains about GPU parts that are not needed."""
    saved, devnull = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(devnull, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(devnull)
