"""JPEG files of every kind, made by hand: flat blocks of random grey and colour, in any sampling and colour space."""

import base64
import random
from collections.abc import Sequence

Sampling = Sequence[tuple[int, int]]  # (horizontal, vertical) of each component

_COUNTS = [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]  # codes of each length in the table of DC sizes
PROGRESSIVE_ARITHMETIC, ARITHMETIC, LOSSLESS = 0xCA, 0xC9, 0xC3

# 16×16 pixels each, by libjpeg-turbo 3 (imagecodecs): nothing in this environment writes such files.
TWELVE_BITS = base64.b85decode(
    "|JeWF01!$>Nk#wx0RR9200961|JwjV00IF40RaI50RaI50s;a81OoyB0s;jD1Oo&H1qKEN1qKEN2MGuU2MGrT1_%oX2?`1d3JL}Y3k(Yi3<(Mf"
    "3jf;xLjeK;0s;a81p@;G3I_%U3JMAe3JMAe3JMAe3JMAe3JMAe3JMAe3JMAe3JMAe3JMAe3JMAe3JMAe3JU+h01*rT5C9MZ0U`hb5di}c0sq7R6#"
    "xMN000000000000000000UA|HJ?t5C8!L0|5a50000000000015y#L{lbVaRCPZ!~him0RaF20000000000000002Mqtj03Z<n00RjD00000000000"
    "00003JfMEHa9~=Q(|&d|Jncy0|5X65d#qbKLADqHbZZodG{7b?$AvkvKxHPY?0llhRAL6IkHD~f?*Ai+vag(j_po@L((3??7kX2>IqZ-0H^-|l`f"
    "~nWyXX5*#"
)
LOSSLESS_SIXTEEN_BITS = base64.b85decode(
    "|JeWF01!$>Nk#wx0RR9200961|HA+a5C9MW5CH)Z0RO}Q6#xMN000000000000000000aS|Jncu0RaF30058xfCK;_0RRX9Kmq^|0DuGlAOQdf"
    "06+o&5CDJ#03ZPX2mn9=01yCx1OOlb00;m;0ss&IfCK;_0RRX9Kmq^|0DuGlAOQdf06+o&5CDJ#03ZPX2mn9=01yCx1OOlb00;m;0ss&IfCK;_0R"
    "RX9Kmq^|0DuGlAOQdf06+o&5CDJ#03ZPX2mn9=01yCx1OOlb00;m;0ss&IfCK;_0RRX9Kmq^|0DuGlAOQdf06+o&5CDJ#03ZPX2mn9=01yCx1OOl"
    "b00;m;0ss&IfCK;_0RRX9Kmq^|0DuGlAOQdf06+o&5CDJ#03ZPX2mn9=01yCx1OOlb00;m;0ss&IfCK;_0RRX9Kmq^|0DuGlAOQdf06+o&5CDJ#0"
    "3ZPX2mn9=01yCx1OOlb00;m;0ss&IfCK;_0RRX9Kmq^|0DuGlAOQdf06+o&5CDJ#03ZPX2mn9=01yCx1OOlb00;m;2mjd"
)


def jpeg(
    sampling: Sampling, size: tuple[int, int] = (45, 37), adobe: int | None = None, jfif: bool = True, frame: int = 0xC0
) -> bytes:
    """Return a JPEG of size (width, height). adobe: the transform of an Adobe marker, None for no such marker."""
    width, height = size
    count = len(sampling)
    parts = [b"\xff\xd8"]
    if jfif:
        parts.append(_segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"))
    if adobe is not None:
        parts.append(_segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([adobe])))
    parts.append(_segment(0xDB, b"\0" + bytes([8] * 64)))
    components = b"".join(bytes([number + 1, a << 4 | b, 0]) for number, (a, b) in enumerate(sampling))
    head = b"\x08" + height.to_bytes(2, "big") + width.to_bytes(2, "big") + bytes([count])
    parts.append(_segment(frame, head + components))
    parts.append(_segment(0xC4, b"\0" + bytes(_COUNTS) + bytes(range(12))))
    parts.append(_segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\0"))
    scan = b"".join(bytes([number + 1, 0]) for number in range(count))
    parts.append(_segment(0xDA, bytes([count]) + scan + b"\0\x3f\0"))
    return b"".join([*parts, _blocks(sampling, width, height), b"\xff\xd9"])


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


def _codes() -> dict[int, str]:
    """Return the Huffman code of each size of a difference."""
    found, code = {}, 0
    for length, count in enumerate(_COUNTS, start=1):
        for _ in range(count):
            found[len(found)] = f"{code:0{length}b}"
            code += 1
        code <<= 1
    return found


def _blocks(sampling: Sampling, width: int, height: int) -> bytes:
    chance, codes, last = random.Random(0), _codes(), [0] * len(sampling)
    across, down = (max(axis) for axis in zip(*sampling, strict=True))
    if len(sampling) == 1:  # a scan of one component is not interleaved
        sampling, across, down = [(1, 1)], 1, 1
    bits = []
    for _ in range(-(-width // (8 * across)) * -(-height // (8 * down))):
        for number, (a, b) in enumerate(sampling):
            for _ in range(a * b):
                value = chance.randrange(-50, 50)
                step, last[number] = value - last[number], value
                size = abs(step).bit_length()
                bits.append(codes[size] + (f"{step if step > 0 else step + (1 << size) - 1:0{size}b}" if size else ""))
                bits.append("0")  # the end of the block
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")
