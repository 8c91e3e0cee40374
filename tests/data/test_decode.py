"""Pixels against Pillow's, and what cannot be read."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from expkit.data.decode import BadImage, decode, decode_file


def encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("RGB", "JPEG"),
        ("L", "JPEG"),
        ("RGB", "PNG"),
        ("P", "PNG"),
        ("RGBA", "PNG"),
        ("LA", "PNG"),
        ("P", "GIF"),
        ("CMYK", "JPEG"),
    ],
)
def test_pixels_are_pillow_s_to_within_a_level(mode: str, kind: str) -> None:
    image = Image.radial_gradient("L").resize((50, 40)).convert("RGB").convert(mode)
    data = encoded(image, kind)
    ours = decode(data, "x").permute(1, 2, 0).numpy().astype(int)
    theirs = np.array(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert ours.shape == theirs.shape == (40, 50, 3)
    limit = 1 if mode != "CMYK" else 2
    assert abs(ours - theirs).max() <= limit


def test_photographs(real_data: Path) -> None:
    for path in sorted((real_data / "photos").rglob("*.[jJ]*"))[:20]:
        ours = decode_file(path).permute(1, 2, 0).numpy().astype(int)
        theirs = np.array(Image.open(path).convert("RGB")).astype(int)
        assert abs(ours - theirs).max() <= 1, path


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    data = encoded(Image.new("RGB", (64, 64)), "JPEG")
    wrong = {"empty": b"", "text": b"hello", "cut": data[: len(data) // 2], "header": data[:20]}
    for name, content in wrong.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadImage) as caught:
            decode_file(tmp_path / name)
        assert str(caught.value).startswith(f"{tmp_path / name}: ")
    with pytest.raises(BadImage, match="No such file"):
        decode_file(tmp_path / "missing")


def test_every_damaged_file_is_refused_or_read_never_worse(real_data: Path) -> None:
    outcomes = {"read": 0, "refused": 0}
    for path in sorted((real_data / "bad_images").iterdir()):
        if not path.is_file():
            continue
        try:
            assert decode_file(path).shape[0] == 3
            outcomes["read"] += 1
        except BadImage:
            outcomes["refused"] += 1
    assert outcomes["refused"] > outcomes["read"] > 0
