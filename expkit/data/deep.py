"""Images with more than 8 bits per value: their raw values, and the range that is mapped to 0..255."""

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from expkit.data import deep_colours

if TYPE_CHECKING:
    from expkit.data.dataset import ImageDataset

Range = tuple[float, float]
Values = NDArray[np.generic]

SIXTEEN_BITS: Range = (0, 65535)
MOST_HEADERS = 1000  # samples whose first bytes "auto" checks, evenly spread over the data
_MOST_READ = 64  # of those that may be deep, how many are decoded
_HEADER_BYTES = 32  # enough to tell whether a file can be deep
_NEVER_DEEP = (b"\xff\xd8\xff", b"GIF8", b"BM")
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_DEPTH, _PNG_KIND = 24, 25  # byte offsets in its header
_WITH_COLOUR = (2, 4, 6)  # PNG colour types of several channels, of which Pillow keeps only the upper 8 bits


class Span(NamedTuple):
    """The smallest and largest value. is_plain: whether values are unsigned integers of at most 16 bits."""

    low: float
    high: float
    is_plain: bool = True


def may_be_deep(head: bytes) -> bool:
    """Return True if a file with this header can hold more than 8 bits per value."""
    if head.startswith(_PNG):
        return head[_PNG_DEPTH : _PNG_DEPTH + 1] == b"\x10"
    return not head.startswith(_NEVER_DEEP) and not (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def is_deep(image: Image.Image, data: bytes = b"") -> bool:
    """Return True if an opened image has more than 8 bits per value. data: bytes of its file."""
    return image.mode.startswith(("I", "F")) or _is_coloured_png(data) or deep_colours.is_deep_colour(image, data)


def _is_coloured_png(data: bytes) -> bool:
    return data.startswith(_PNG) and data[_PNG_DEPTH] == 16 and data[_PNG_KIND] in _WITH_COLOUR


def values_of(image: Image.Image, data: bytes = b"") -> Values:
    """Return the raw values of a deep image, (H, W) or (H, W, 3)."""
    if _is_coloured_png(data):
        from torchvision.io import ImageReadMode, decode_png

        pixels = decode_png(torch.frombuffer(bytearray(data), dtype=torch.uint8), ImageReadMode.UNCHANGED)
        channels = pixels.permute(1, 2, 0).numpy()
        return np.repeat(channels[..., :1], 3, axis=2) if channels.shape[2] == 2 else channels[..., :3]
    if deep_colours.is_deep_colour(image, data):
        return deep_colours.values_of(image, data)
    maxval = _maxval(image)
    values: Values = np.asarray(image)
    if maxval is not None and maxval != SIXTEEN_BITS[1]:  # Pillow scales a PGM to 16 bits
        values = np.rint(values.astype(np.float64) * maxval / SIXTEEN_BITS[1]).astype(np.uint16)
    return values


def _maxval(image: Image.Image) -> int | None:
    """Return the largest value that the header of a 16-bit PGM allows, None for any other image."""
    tiles = getattr(image, "tile", None)
    if image.format != "PPM" or image.mode != "I" or not tiles:
        return None
    arguments = tiles[0].args
    return int(arguments[1]) if isinstance(arguments, tuple) and arguments[0] != "I;16B" else int(SIXTEEN_BITS[1])


def is_plain(image: Image.Image) -> bool:
    """Return True for unsigned integers of at most 16 bits, whose range is known without reading."""
    return image.mode.startswith("I;16") or image.format == "PPM" or not image.mode.startswith(("I", "F"))


def to_eight_bits(values: Values, span: Range) -> NDArray[np.uint8]:
    """Return values as uint8: 256 equal steps over the range, values outside clipped, NaN as 0."""
    low, high = span
    if span == SIXTEEN_BITS and values.dtype.kind == "u":
        return (values.astype(np.uint16) >> 8).astype(np.uint8)
    numbers = values.astype(np.float64) - low
    if values.dtype.kind in "iu":  # e.g. 12 bits, 0..4095: 16 values per step
        steps = np.floor(numbers * 256 / (high - low + 1))
    else:
        steps = np.rint(np.nan_to_num(numbers, nan=0.0, posinf=np.inf, neginf=-np.inf) * 255 / (high - low))
    return np.clip(steps, 0, 255).astype(np.uint8)


def find_range(data: "ImageDataset") -> tuple[Range, int] | None:
    """Return the range of a dataset's deep images and how many were read, None if there are none.

    Deterministic across machines and processes: reads samples evenly spread over the data. For unsigned integers the
    range follows from the bits of the largest value, as cameras and scanners store them: up to 4095 if it is 3000. For
    all others it is the smallest and the largest value.
    """
    spans: list[Span] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        checked = _spread(range(len(data)), MOST_HEADERS)
        headers = pool.map(lambda index: _may_be_deep(data, index), checked)
        candidates = [index for index, may_be in zip(checked, headers, strict=True) if may_be]
        chosen = _spread(candidates, _MOST_READ)
        for start in range(0, len(chosen), 16):
            results = pool.map(lambda index: span_at(data, index), chosen[start : start + 16])
            spans += [span for span in results if span is not None]
            if spans and all(span.is_plain for span in spans) and max(s.high for s in spans) > SIXTEEN_BITS[1] / 2:
                break  # no image can have more bits
    return (range_of(spans), len(spans)) if spans else None


def _spread(indices: Sequence[int], most: int) -> list[int]:
    if not indices:
        return []
    places = np.unique(np.linspace(0, len(indices) - 1, min(len(indices), most)).round().astype(np.int64))
    return [indices[int(place)] for place in places]


def _may_be_deep(data: "ImageDataset", index: int) -> bool:
    """Return False if the header of the sample's file rules it out."""
    try:
        return may_be_deep(_header(data.location(index)))
    except Exception:  # unreadable: reported when the sample is read
        return False


def span_at(data: "ImageDataset", index: int) -> Span | None:
    """Return the span of a sample's values, None if it has 8 bits per value or cannot be read."""
    try:
        return span_of(data.encoded(index) or b"") if _may_be_deep(data, index) else None
    except Exception:  # as above
        return None


def _header(path: str) -> bytes:
    if not os.path.isfile(path):
        return b""
    with open(path, "rb") as file:
        return file.read(_HEADER_BYTES)


def span_of(content: bytes) -> Span | None:
    """Return the span of a file's values, None if it has 8 bits per value. Raises whatever Pillow raises."""
    if not content or not may_be_deep(content[:_HEADER_BYTES]):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(BytesIO(content)) as image:
            if not is_deep(image, content):
                return None
            values, plain = values_of(image, content), is_plain(image)
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    return Span(float(finite.min()), float(finite.max()), plain) if finite.size else None


_LARGEST = 1e30  # an integer in a manifest may be too large for a float


def checked_range(value: object) -> Range | None:
    """Return a range from a config or a manifest, None for null. Raises ValueError."""
    if value is None:
        return None
    numbers = value if isinstance(value, list | tuple) else ()
    if len(numbers) != 2 or not all(type(number) in (int, float) and abs(number) < _LARGEST for number in numbers):
        raise ValueError("takes [LOWEST, HIGHEST]")
    low, high = map(float, numbers)
    if not low < high:
        raise ValueError("takes [LOWEST, HIGHEST], the lower number first")
    return low, high


def range_of(spans: list[Span]) -> Range:
    low, high = min(span.low for span in spans), max(span.high for span in spans)
    if all(span.is_plain for span in spans):
        return 0, 2 ** max(int(high).bit_length(), 8) - 1
    return low, high if high > low else low + 1
