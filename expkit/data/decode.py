"""Decode a file's bytes to uint8 pixels: libjpeg-turbo (simplejpeg) for JPEG, Pillow for everything else."""

import io
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from expkit.core.escaping import shortened
from expkit.data import deep

JPEG_MAGIC = b"\xff\xd8\xff"
JPEG_END = b"\xff\xd9"
MAX_PIXELS = 89_478_485  # Pillow's own limit: a quarter of a gigabyte in RGB


class BadImage(Exception):
    """An image that cannot be used: its location and the reason."""

    def __init__(self, location: str, reason: str) -> None:
        super().__init__(location, reason)  # both arguments, so that it can be unpickled from a worker
        self.location, self.reason = location, shortened(reason)

    def __str__(self) -> str:
        return f"{self.location}: {self.reason}"


@dataclass(frozen=True)
class Decoder:
    """How encoded images become pixels.

    max_pixels: larger images are refused by their header. region: decode only the region of a JPEG that
    RandomResizedCrop keeps.

    Pixels equal those of Pillow's convert("RGB"): grey and palette images become three channels; transparency is
    dropped; CMYK is converted; the first frame of an animation is used; EXIF orientation is not applied, as in
    torchvision's ImageFolder. 16-bit values are scaled to 8 bits (Pillow would clip them).

    deep_range: the values of images with more than 8 bits that become 0 and 255; None: 0 and 65535, and 32-bit integer
    or floating-point images are refused, since they have no standard range.
    """

    max_pixels: int = MAX_PIXELS
    region: bool = False
    deep_range: deep.Range | None = None

    def decode(self, data: bytes, location: str) -> Tensor:
        """Return an encoded image as (3, H, W) uint8 in channels-last memory layout.

        location: for the error message. Raises BadImage.
        """
        pixels = self._jpeg(data, location) if data.startswith(JPEG_MAGIC) else None
        if pixels is None:
            pixels = self._with_pillow(data, location)
        return torch.from_numpy(pixels).permute(2, 0, 1)

    def jpeg_size(self, data: bytes, location: str) -> tuple[int, int] | None:
        """Return (height, width) of a complete JPEG that libjpeg-turbo can read, else None. Raises BadImage."""
        if not data.startswith(JPEG_MAGIC) or not data.rstrip(b"\0").endswith(JPEG_END):
            return None
        try:
            height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        except Exception:  # it lacks some samplings (4:4:1 is a KeyError): fall back to Pillow
            return None
        self._refuse_large(width, height, location)
        return None if colours in ("CMYK", "YCCK") else (height, width)

    def _jpeg(self, data: bytes, location: str) -> NDArray[np.uint8] | None:
        """Return (H, W, 3) pixels; None to fall back to Pillow: other colour spaces, or any sign of damage."""
        if self.jpeg_size(data, location) is None:
            return None
        try:
            pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data)
        except Exception:  # possibly harmless damage (bytes between segments), or a kind that only Pillow reads
            return None
        return pixels

    def _with_pillow(self, data: bytes, location: str) -> NDArray[np.uint8]:
        if not data:
            raise BadImage(location, "the file is empty")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about metadata, and about size, which is checked here
                with Image.open(io.BytesIO(data)) as image:
                    if image.format == "EPS":  # Pillow would start Ghostscript, whatever the extension
                        raise BadImage(location, "is PostScript, a program and no image; save it as a PNG")
                    self._refuse_large(*image.size, location)
                    return self.pixels(image, data)
        except BadImage:
            raise
        except Exception as error:  # readers of damaged files raise many types, not only OSError
            raise BadImage(location, _reason(error, data)) from error

    def pixels(self, image: Image.Image, data: bytes = b"") -> NDArray[np.uint8]:
        """Return an opened image as (H, W, 3). data: bytes of its file. Raises ValueError if the range is unknown."""
        if not deep.is_deep(image, data):
            return np.array(image.convert("RGB"))
        if self.deep_range is None and not deep.is_plain(image):
            kind = "floating" if image.mode == "F" else "whole"
            problem = f"holds 32-bit {kind} numbers, which have no agreed range"
            raise ValueError(f"{problem}; give dataset.deep_range=[LOWEST,HIGHEST], or save it with 8 or 16 bits")
        pixels = deep.to_eight_bits(deep.values_of(image, data), self.deep_range or deep.SIXTEEN_BITS)
        return np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels

    def _refuse_large(self, width: int, height: int, location: str) -> None:
        if width * height > self.max_pixels:
            limit = f"more than dataset.max_pixels={self.max_pixels}"
            raise BadImage(location, f"is an image of {width}×{height} = {width * height:,} pixels, {limit}")


def _reason(error: Exception, data: bytes) -> str:
    if isinstance(error, UnidentifiedImageError) and (bits := _jpeg_bits(data)) not in (0, 8):
        return f"is a JPEG of {bits} bits a value, which cannot be read here; save it as a PNG"
    if isinstance(error, UnidentifiedImageError):
        start = data[:16].decode("ascii", "replace").encode("ascii", "replace").decode()
        return f"is no image: it begins with {start!r}"
    if isinstance(error, Image.DecompressionBombError):
        return f"is refused as a decompression bomb: {error}"
    return f"cannot be decoded: {type(error).__name__}: {error}"


def _jpeg_bits(data: bytes) -> int:
    """Return the bits per value in a JPEG's header, 0 if it is not a JPEG."""
    frame = re.search(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf\xf7]\x00.(.)", data, re.DOTALL)
    return frame[1][0] if frame and data.startswith(JPEG_MAGIC) else 0


def read_file(path: str | Path) -> bytes:
    """Return the bytes of a file. Raises BadImage if it is missing, a folder, a broken link or not readable."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte, from an untrusted list
        raise BadImage(str(path), getattr(error, "strerror", None) or str(error)) from error


def decode_file(path: str | Path, decoder: Decoder | None = None) -> Tensor:
    """Return the image of a file as (3, H, W) uint8. Raises BadImage."""
    return (decoder or Decoder()).decode(read_file(path), str(path))
