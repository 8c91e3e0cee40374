"""Images of more than 8 bits: the range that becomes 0 to 255 is the data's, or given, and a trained model keeps it."""

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from expkit.api import Run, train
from expkit.config.compose import compose_one, plain
from expkit.config.diff import differences
from expkit.core.errors import ConfigError
from expkit.data import deep
from expkit.data.datasets import load
from expkit.data.datasets.in_memory import ReadByLibrary
from expkit.data.decode import BadImage, Decoder
from expkit.doctor.scan import Collection, scan
from expkit.doctor.statistics import judge_depth
from expkit.inference import load_trained, path_images
from expkit.runs.build import build

TWELVE_BITS = np.linspace(0, 4095, 64 * 48).round().reshape(48, 64).astype(np.uint16)
SIXTEEN_BITS = np.linspace(0, 65535, 64 * 48).round().reshape(48, 64).astype(np.uint16)


def pgm(values: "np.ndarray[Any, Any]", most: int) -> bytes:
    height, width = values.shape
    return b"P5\n# made by a scanner\n%d %d\n%d\n" % (width, height, most) + values.astype(">u2").tobytes()


def encoded(values: "np.ndarray[Any, Any]", kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, kind)
    return file.getvalue()


def coloured_png(values: "np.ndarray[Any, Any]", channels: int) -> bytes:
    """A PNG of 16 bits and several channels, which Pillow does not write: chunk by chunk."""
    height, width = values.shape
    rows = np.repeat(values[..., None], channels, axis=2).astype(">u2").reshape(height, -1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    chunks = [struct.pack(">I", len(b)) + a + b + struct.pack(">I", zlib.crc32(a + b)) for a, b in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def coloured_ppm(values: "np.ndarray[Any, Any]", most: int, plain: bool = False) -> bytes:
    height, width = values.shape
    rows = np.repeat(values[..., None], 3, axis=2)
    body = " ".join(map(str, rows.ravel().tolist())).encode() if plain else rows.astype(">u2").tobytes()
    return b"P%d\n%d %d\n%d\n" % (3 if plain else 6, width, height, most) + body


def coloured_tiff(values: "np.ndarray[Any, Any]", channels: int, order: str, predictor: int) -> bytes:
    """A TIFF of 16 bits and several channels, which Pillow does not write. predictor 2: of deflated differences."""
    height, width = values.shape
    rows = np.repeat(values[..., None], channels, axis=2)
    if predictor == 2:
        rows = np.diff(rows, axis=1, prepend=np.zeros_like(rows[:, :1]))
    raw = rows.astype(order + "u2").tobytes()
    body = zlib.compress(raw) if predictor == 2 else raw
    bits = struct.pack(order + "4H", 16, 16, 16, 16)
    numbers = [
        (256, width), (257, height), (258, 8), (259, 8 if predictor == 2 else 1), (262, 2), (273, 16), (277, channels),
        (278, height), (279, len(body)), (317, predictor), *[(338, 2)] * (channels == 4),
    ]  # fmt: skip
    entries = [
        struct.pack(order + "HHLL", tag, 3, channels, number) if tag == 258 else
        struct.pack(order + "HHLL", tag, 4, 1, number) for tag, number in numbers
    ]  # fmt: skip
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "L", 16 + len(body))
    return head + bits + body + struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4)


@pytest.mark.parametrize(("values", "span"), [(TWELVE_BITS, (0, 4095)), (SIXTEEN_BITS, (0, 65535))])
def test_the_same_values_in_any_file_are_the_same_pixels(
    values: "np.ndarray[Any, Any]", span: tuple[float, float]
) -> None:
    expected = (values >> (4 if span[1] == 4095 else 8)).astype(np.uint8)
    files = {
        "png": encoded(values, "PNG"), "tiff": encoded(values, "TIFF"), "pgm": pgm(values, 65535),
        "pgm of its own maximum": pgm(values, int(span[1])), "big-endian tiff": encoded(values.astype(">u2"), "TIFF"),
        "colour": coloured_png(values, 3), "colour and alpha": coloured_png(values, 4),
        "colour ppm": coloured_ppm(values, 65535), "plain colour ppm": coloured_ppm(values, int(span[1]), True),
        "colour tiff": coloured_tiff(values, 3, "<", 1), "deflated colour tiff": coloured_tiff(values, 3, ">", 2),
        "colour and alpha tiff": coloured_tiff(values, 4, "<", 2),
        "grey and alpha": coloured_png(values, 2), "int32 tiff": encoded(values.astype(np.int32), "TIFF"),
    }  # fmt: skip
    for name, data in files.items():
        pixels = Decoder(deep_range=span).decode(data, "x").numpy()
        assert all(np.array_equal(channel, expected) for channel in pixels), name
        if "int32" not in name:
            assert deep.span_of(data) == (0, span[1], True), name


def test_floating_numbers_take_a_range() -> None:
    values = np.linspace(-1, 1, 64 * 48, dtype=np.float32).reshape(48, 64)
    values[0, :3] = np.nan, np.inf, -np.inf
    data = encoded(values, "TIFF")
    assert deep.span_of(data) == (pytest.approx(-1, abs=1e-2), 1, False)
    grey = Decoder(deep_range=(-1, 1)).decode(data, "x")[0]
    assert grey[0, :3].tolist() == [0, 255, 0]
    assert (grey[-1, -1], grey[24, 0]) == (255, pytest.approx(128, abs=2))


@pytest.mark.parametrize("depth", ["L", "RGB"])
def test_images_of_eight_bits_are_not_touched(depth: str) -> None:
    file = io.BytesIO()
    Image.effect_noise((20, 20), 90).convert(depth).save(file, "PNG")
    plainly = Decoder().decode(file.getvalue(), "x")
    assert torch.equal(Decoder(deep_range=(0, 4095)).decode(file.getvalue(), "x"), plainly)
    assert deep.span_of(file.getvalue()) is None


def write(folder: Path, most: int, count: int = 6, kind: str = "png") -> Path:
    chance = np.random.default_rng(most)
    for name in ("healthy", "ill"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            values = chance.integers(0, most + 1, (40, 40))
            values[0, 0] = most
            Image.fromarray(values.astype(np.uint16)).save(folder / name / f"{number}.{kind}")
    return folder


@pytest.mark.parametrize(("most", "high"), [(3000, 4095), (4095, 4095), (4096, 8191), (200, 255), (40000, 65535)])
@pytest.mark.parametrize("kind", ["png", "tif"])
def test_auto_takes_the_bits_that_the_largest_value_needs(tmp_path: Path, most: int, high: int, kind: str) -> None:
    splits = load({"name": "image_folder", "root": str(write(tmp_path, most, kind=kind))})
    assert splits.train.decoder.deep_range == (0, high)
    assert splits.val is not None
    assert splits.val.decoder == splits.train.decoder
    assert any("deep_range=auto" in note for note in splits.notes) == (high < 65535)
    assert int(splits.train.image(0).max()) == (most * 256) // (high + 1)


def test_the_same_range_whichever_fold_and_none_without_deep_images(tmp_path: Path) -> None:
    root = write(tmp_path / "one", 4000)
    Image.fromarray(np.full((8, 8), 60_000, np.uint16)).save(root / "ill/5.png")
    node = {"name": "image_folder", "root": str(root), "folds": 2}
    assert {load(node | {"fold": fold}).train.decoder.deep_range for fold in (0, 1)} == {(0, 65535)}
    assert load(node | {"deep_range": [0, 100]}).train.decoder.deep_range == (0, 100)
    assert load(node | {"deep_range": None}).train.decoder.deep_range is None
    assert load({"name": "fake", "images": 200, "image_size": 8}).train.decoder.deep_range is None


@pytest.mark.parametrize("value", [[], [1.0], [1.0, 2.0, 3.0], [2.0, 1.0], [1.0, 1.0]])
def test_what_is_no_range_is_refused(value: list[float], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.deep_range: takes \[LOWEST, HIGHEST\]"):
        load({"name": "image_folder", "root": str(tmp_path), "deep_range": value})


def test_images_of_a_library_are_not_clipped() -> None:
    """Pillow's convert("RGB") clips 16 bits at 255."""
    data = ReadByLibrary([(Image.fromarray(SIXTEEN_BITS), 0)], [0], ["a"], "train")
    assert np.array_equal(data.image(0)[0].numpy(), (SIXTEEN_BITS >> 8).astype(np.uint8))


@pytest.fixture
def trained_on_twelve_bits(tmp_path: Path) -> tuple[Path, Path]:
    root = write(tmp_path / "data", 4095)
    run = train(
        ["dataset=image_folder", f"dataset.root={root}", "dataset.num_workers=0", "epochs=1", "logger=none",
         "model.width=4", "transforms=tutorial", "transforms.image_size=32", f"output_dir={tmp_path}/outputs"]
    )  # fmt: skip
    return root, run.folder


def test_a_trained_model_keeps_the_range(trained_on_twelve_bits: tuple[Path, Path], small_run: Run) -> None:
    root, folder = trained_on_twelve_bits
    trained = load_trained(folder, device="cpu")
    path = root / "ill/0.png"
    as_trained = trained.chain(load({"name": "image_folder", "root": str(root)}).train.decoder.decode(
        path.read_bytes(), ""))  # fmt: skip
    listed = path_images([str(path)], trained.classes, trained.decoder)
    for seen in (trained.seen(path), trained.seen(Image.open(path)), trained.chain(listed.image(0))):
        assert torch.equal(seen, as_trained)
    assert trained.config["dataset"]["deep_range"] == [0, 4095]
    with pytest.raises(BadImage, match="the image: holds 32-bit floating numbers, which have no agreed range"):
        load_trained(small_run.folder, device="cpu").seen(Image.fromarray(np.zeros((8, 8), np.float32)))


def test_resuming_with_another_range_is_refused(trained_on_twelve_bits: tuple[Path, Path], tmp_path: Path) -> None:
    root, folder = trained_on_twelve_bits
    own = plain(compose_one([
        "dataset=image_folder", f"dataset.root={root}", "dataset.num_workers=0", "epochs=2", "logger=none",
        "model.width=4", "transforms=tutorial", "transforms.image_size=32", f"output_dir={tmp_path}/outputs",
        f"checkpoint.resume={next(folder.glob('checkpoints/*.safetensors'))}",
    ]))  # fmt: skip
    Image.fromarray(np.full((40, 40), 60_000, np.uint16)).save(root / "ill/0.png")
    with pytest.raises(ConfigError, match=r"trained on the values 0 to 4095 .* add dataset\.deep_range=\[0,4095\]"):
        build(own)
    own["dataset"]["deep_range"] = [0, 4095]
    job = build(own)
    job.close()
    assert differences({"dataset": {"name": "x"}}, {"dataset": {"name": "x", "deep_range": "auto"}}) == []


@pytest.mark.parametrize(
    ("most", "span", "is_auto", "words"),
    [
        (4095, (0, 4095), True, ["12 images are of more than 8 bits, with values from 0 to 4095"]),
        (4095, None, False, ["become about 16 grey levels", "dataset.deep_range=auto"]),
        (65535, (0, 4095), False, ["12 images with more than 8 bits have values outside 0 to 4095", "[0,65535]"]),
    ],
)
def test_the_doctor_names_them(
    tmp_path: Path, most: int, span: tuple[float, float] | None, is_auto: bool, words: list[str]
) -> None:
    node = {"name": "image_folder", "root": str(write(tmp_path, most))}
    found = judge_depth(scan(Collection(load(node)), 1, 30).readings, span, is_auto)
    shown = json.dumps([[one.sentence, one.remedy] for one in found])
    assert all(word in shown for word in words), shown
