"""16-bit colour in TIFF and PPM files, of which Pillow keeps only the upper 8 bits."""

import re
import struct
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_WIDTH, _BITS, _PHOTOMETRIC, _SAMPLES, _PLANAR, _PREDICTOR, _TILE_WIDTH = 256, 258, 262, 277, 284, 317, 322
_ORIENTATION, _EXTRA, _FORMAT = 274, 338, 339
_LONG = 4


def is_deep_colour(image: Image.Image, data: bytes) -> bool:
    """Return True for an opened TIFF or PPM with colour channels of 9 to 16 bits that can be read in full.

    Rare kinds of TIFF are not supported: planar, BigTIFF, rotated.
    """
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        bits = tags.get(_BITS, ())
        is_plain = tags.get(_PLANAR, 1) == 1 and tags.get(_ORIENTATION, 1) == 1 and data[2:4] in (b"*\0", b"\0*")
        return is_plain and image.mode.startswith("RGB") and len(bits) > 2 and set(bits) == {16}
    return bool(data) and image.format == "PPM" and image.mode == "RGB" and (_maxval(image) or 0) > 255


def values_of(image: Image.Image, data: bytes) -> NDArray[np.uint16]:
    """Return the raw values, (H, W, 3)."""
    return _of_tiff(image, data) if image.format == "TIFF" else _of_ppm(image, data)


def _maxval(image: Image.Image) -> int | None:
    tiles = getattr(image, "tile", None)
    arguments = tiles[0].args if tiles else None
    return int(arguments[1]) if isinstance(arguments, tuple) and isinstance(arguments[1], int) else None


def _of_ppm(image: Image.Image, data: bytes) -> NDArray[np.uint16]:
    start, shape = image.tile[0].offset, (image.height, image.width, 3)  # type: ignore[attr-defined]
    count = image.height * image.width * 3
    if data.startswith(b"P3"):
        words = re.sub(rb"#[^\n\r]*", b" ", data[start:]).split()[:count]
        return np.array(words, dtype=np.int64).astype(np.uint16).reshape(shape)
    return np.frombuffer(data, ">u2", count, start).astype(np.uint16).reshape(shape)


def _of_tiff(image: Image.Image, data: bytes) -> NDArray[np.uint16]:
    """Read the file as a grey image, three or four times as wide, which Pillow reads in full."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    channels = int(tags.get(_SAMPLES, 3))
    changes: dict[int, int | None] = {_WIDTH: image.width * channels, _BITS: 16, _SAMPLES: 1, _FORMAT: 1}
    changes |= {_PHOTOMETRIC: 1, _PREDICTOR: 1, _EXTRA: None}
    if _TILE_WIDTH in tags:
        changes[_TILE_WIDTH] = int(tags[_TILE_WIDTH]) * channels
    with Image.open(BytesIO(_changed(data, tags, changes))) as grey:
        values = np.asarray(grey).astype(np.uint16).reshape(image.height, image.width, channels)
    if tags.get(_PREDICTOR, 1) == 2:  # each value is the difference to the previous pixel, within a strip or tile
        step = int(tags.get(_TILE_WIDTH, image.width))
        for left in range(0, image.width, step):
            part = values[:, left : left + step]
            part[:] = np.cumsum(part, axis=1, dtype=np.uint16)
    return values[..., :3]


def _changed(data: bytes, tags: object, changes: dict[int, int | None]) -> bytes:
    """Return a TIFF file with tags of its first directory changed; None: the entry gets an unused tag."""
    order = "<" if data[:2] == b"II" else ">"
    (place,) = struct.unpack_from(order + "L", data, 4)
    (count,) = struct.unpack_from(order + "H", data, place)
    changed = bytearray(data)
    for entry in range(place + 2, place + 2 + 12 * count, 12):
        (tag,) = struct.unpack_from(order + "H", data, entry)
        if tag not in changes:
            continue
        number = changes[tag]
        if number is None:
            struct.pack_into(order + "H", changed, entry, 65000)
        else:
            struct.pack_into(order + "HLL", changed, entry + 2, _LONG, 1, number)
    return bytes(changed)
