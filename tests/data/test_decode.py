"""Pixels against Pillow's, what becomes of every kind of image, and what cannot be read."""

import io
import random
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from expkit.data.decode import BadImage, Decoder, decode_file

GRADIENT = Image.radial_gradient("L").resize((50, 40))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decode(data: bytes) -> Tensor:
    return Decoder().decode(data, "x")


def rows(image: Tensor) -> "np.ndarray[tuple[int, ...], np.dtype[np.int64]]":
    return image.permute(1, 2, 0).numpy().astype(np.int64)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("RGB", "JPEG"),
        ("L", "JPEG"),
        ("CMYK", "JPEG"),
        ("RGB", "PNG"),
        ("P", "PNG"),
        ("1", "PNG"),
        ("L", "PNG"),
        ("RGBA", "PNG"),
        ("LA", "PNG"),
        ("P", "GIF"),
        ("RGB", "WEBP"),
        ("RGB", "BMP"),
        ("CMYK", "TIFF"),
    ],
)
def test_pixels_are_pillow_s(mode: str, kind: str) -> None:
    data = encoded(GRADIENT.convert("RGB").convert(mode), kind)
    theirs = np.array(Image.open(io.BytesIO(data)).convert("RGB")).astype(np.int64)
    assert theirs.shape == (40, 50, 3)
    assert np.array_equal(rows(decode(data)), theirs)


@pytest.mark.parametrize("options", [{"subsampling": 0}, {"subsampling": 2}, {"progressive": True}, {"quality": 30}])
def test_every_kind_of_jpeg(options: dict[str, object]) -> None:
    data = encoded(Image.effect_noise((61, 47), 80).convert("RGB"), "JPEG", **options)
    assert np.array_equal(rows(decode(data)), np.array(Image.open(io.BytesIO(data)).convert("RGB")).astype(np.int64))


def test_sixteen_bits_are_scaled_to_eight() -> None:
    data = encoded(Image.fromarray(np.array([[0, 255, 256, 65535]], dtype=np.uint16)), "PNG")
    assert decode(data)[:, 0].tolist() == [[0, 0, 1, 255]] * 3


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_numbers_without_a_range_are_refused(kind: type) -> None:
    data = encoded(Image.fromarray(np.zeros((4, 4), dtype=kind)), "TIFF")
    with pytest.raises(BadImage, match=r"32-bit .* no agreed range; give dataset.deep_range=\[LOWEST,HIGHEST\]"):
        decode(data)


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(data)[:, 0, 0].tolist() == [255, 0, 0]


def test_transparency_is_dropped() -> None:
    data = encoded(Image.new("RGBA", (4, 4), (10, 20, 30, 0)), "PNG")
    assert decode(data)[:, 0, 0].tolist() == [10, 20, 30]


def test_the_exif_orientation_is_not_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    assert decode(encoded(GRADIENT.convert("RGB"), "JPEG", exif=exif)).shape == (3, 40, 50)


def test_photographs(real_data: Path) -> None:
    for path in sorted((real_data / "photos").rglob("*.[jJ]*"))[:20]:
        assert np.array_equal(rows(decode_file(path)), np.array(Image.open(path).convert("RGB")).astype(np.int64)), path


def test_what_cannot_be_read_is_named_with_its_reason(tmp_path: Path) -> None:
    data = encoded(Image.effect_noise((64, 64), 50).convert("RGB"), "JPEG")
    wrong = {
        "empty.jpg": (b"", "the file is empty"),
        "text.jpg": (b"hello, I am no image", "is no image: it begins with 'hello, I am no i'"),
        "cut.jpg": (data[: len(data) // 2], "truncated"),
        "header.jpg": (data[:20], "is no image"),
    }
    for name, (content, reason) in wrong.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadImage, match=reason) as caught:
            decode_file(tmp_path / name)
        assert caught.value.location == str(tmp_path / name)
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "link.jpg").symlink_to(tmp_path / "nowhere")
    for name, reason in {"folder.jpg": "Is a directory", "link.jpg": "No such file", "missing": "No such file"}.items():
        with pytest.raises(BadImage, match=reason):
            decode_file(tmp_path / name)


def test_harmless_damage_is_judged_as_pillow_does() -> None:
    """Flipped bits: what Pillow reads, is read with the same pixels; what it refuses, is refused."""
    data = encoded(Image.effect_noise((64, 64), 50).convert("RGB"), "JPEG")
    chance = random.Random(0)
    outcomes = set()
    for _ in range(300):
        damaged = bytearray(data)
        damaged[chance.randrange(2, len(data))] ^= 1 << chance.randrange(8)
        try:
            theirs = np.array(Image.open(io.BytesIO(damaged)).convert("RGB"))
        except Exception:  # whatever it is: ours is to refuse it, too
            theirs = None
        try:
            ours = rows(decode(bytes(damaged)))
        except BadImage:
            outcomes.add("refused")
            assert theirs is None or not damaged.endswith(b"\xff\xd9")
            continue
        outcomes.add("read")
        assert theirs is not None
        assert np.array_equal(ours, theirs.astype(np.int64))
    assert outcomes == {"read", "refused"}


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_too_many_pixels_are_refused_by_the_header(kind: str) -> None:
    data = encoded(GRADIENT.convert("RGB"), kind)
    with pytest.raises(BadImage, match=r"50×40 = 2,000 pixels, more than dataset.max_pixels=1999"):
        Decoder(max_pixels=1999).decode(data, "x")
    assert Decoder(max_pixels=2000).decode(data, "x").shape == (3, 40, 50)


def test_a_bomb_costs_no_memory(tmp_path: Path) -> None:
    """A real process under a limit of memory that the image's pixels (1.2 GB) would break."""
    data = bytearray(encoded(Image.new("L", (16, 16)), "PNG"))
    data[16:24] = (20_000).to_bytes(4, "big") * 2  # the header's width and height

    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(data)
    program = (
        "import resource, sys\nfrom expkit.data.decode import BadImage, decode_file\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    decode_file(sys.argv[1])\nexcept BadImage as error:\n    print(error.reason)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "bomb.png")], capture_output=True, text=True, check=True
    )
    reason, grown = done.stdout.splitlines()
    assert "20000×20000 = 400,000,000 pixels" in reason or "decompression bomb" in reason
    assert int(grown) < 50
    assert (tmp_path / "bomb.png").stat().st_size < 1000


def test_every_damaged_file_is_refused_or_read_never_worse(real_data: Path) -> None:
    outcomes = {"read": 0, "refused": 0}
    for path in sorted((real_data / "bad_images").rglob("*")):
        if not path.is_file():
            continue
        try:
            assert decode_file(path).shape[0] == 3
            outcomes["read"] += 1
        except BadImage:
            outcomes["refused"] += 1
    assert outcomes["refused"] > outcomes["read"] > 0


def test_postscript_is_refused_and_never_run() -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "EPS")
    with pytest.raises(BadImage, match="is PostScript, a program and no image"):
        Decoder().decode(file.getvalue(), "a.png")
