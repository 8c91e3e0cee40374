"""From a file's bytes to uint8 pixels: torchvision's decoder for JPEG, Pillow for all else."""

import io
import struct
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg

JPEG_MAGIC = b"\xff\xd8\xff"
# What Pillow's readers throw at damaged files: `except OSError` alone misses half of them.
_PILLOW_ERRORS = (
    OSError, ValueError, SyntaxError, NotImplementedError, EOFError, IndexError, KeyError, TypeError, AttributeError,
    OverflowError, MemoryError, struct.error, Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip


class BadImage(Exception):
    """An image that cannot be read: where it is, and why."""

    def __init__(self, location: str, reason: str) -> None:
        super().__init__(location, reason)  # both, so that it survives the way out of a worker process
        self.location, self.reason = location, reason

    def __str__(self) -> str:
        return f"{self.location}: {self.reason}"


def decode_file(path: str | Path) -> Tensor:
    """Return the image of a file as (3, H, W) uint8. Raises BadImage."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise BadImage(str(path), error.strerror or str(error)) from error
    return decode(data, str(path))


def decode(data: bytes, location: str) -> Tensor:
    """Return an encoded image as (3, H, W) uint8, within 1 level of what Pillow's convert("RGB") gives.

    location: named in the error. The EXIF orientation is not applied, as in torchvision's ImageFolder; of an animated
    image the first frame is taken; transparency is dropped. Raises BadImage.
    """
    if not data:
        raise BadImage(location, "the file is empty")
    if data.startswith(JPEG_MAGIC) and data.rstrip(b"\0").endswith(b"\xff\xd9"):
        try:
            return _decode_jpeg(data)
        except (
            RuntimeError
        ):  # colour spaces that it does not know, or damage: Pillow knows more, and says what is wrong
            return _decode_with_pillow(data, location)
    return _decode_with_pillow(data, location)


def _decode_jpeg(data: bytes) -> Tensor:
    encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    with warnings.catch_warnings():
        # torchvision 0.29 announces that its decoders will move to torchcodec; until then this one is the fastest.
        warnings.simplefilter("ignore", DeprecationWarning)
        return decode_jpeg(encoded, mode=ImageReadMode.RGB)  # type: ignore[no-any-return]


def _decode_with_pillow(data: bytes, location: str) -> Tensor:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as image:
                pixels = np.array(image.convert("RGB"))
    except _PILLOW_ERRORS as error:
        raise BadImage(location, f"cannot be decoded: {type(error).__name__}: {error}") from error
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
