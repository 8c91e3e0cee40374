"""JPEG files of every kind: what a fast decoder refuses goes to Pillow, and what either throws is a bad sample."""

import io
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from expkit.api import Run
from expkit.config.hydra_loader import Config
from expkit.data import region_decode
from expkit.data.batches import BatchIndices, Samples
from expkit.data.datasets.image_files import ImageFiles
from expkit.data.decode import BadImage, Decoder
from expkit.data.transforms import Chain
from expkit.inference import load_trained, path_images, score
from expkit.runs.build import build
from tests.data import jpegs
from tests.data.jpegs import jpeg

ONE = [(1, 1)] * 3
KINDS = {
    "4:4:1": jpeg([(1, 4), (1, 1), (1, 1)]),
    "4:1:1": jpeg([(4, 1), (1, 1), (1, 1)]),
    "4:4:0": jpeg([(1, 2), (1, 1), (1, 1)]),
    "4:1:0": jpeg([(4, 2), (1, 1), (1, 1)]),
    "3:1": jpeg([(3, 1), (1, 1), (1, 1)]),
    "fractions": jpeg([(3, 1), (2, 1), (1, 1)]),
    "red alone": jpeg([(1, 1), (1, 1), (2, 2)]),
    "grey 2×2": jpeg([(2, 2)]),
    "two components": jpeg([(1, 1)] * 2),
    "CMYK": jpeg([(1, 1)] * 4, adobe=0),
    "CMYK without a marker": jpeg([(1, 1)] * 4),
    "YCCK": jpeg([(2, 2), (1, 1), (1, 1), (2, 2)], adobe=2),
    "RGB by Adobe": jpeg(ONE, adobe=0, jfif=False),
    "RGB by Adobe, 4:2:0": jpeg([(2, 2), (1, 1), (1, 1)], adobe=0, jfif=False),
    "Adobe 2 of three": jpeg(ONE, adobe=2, jfif=False),
    "Adobe 77": jpeg(ONE, adobe=77, jfif=False),
    "no marker": jpeg(ONE, jfif=False),
    "arithmetic": jpeg([(2, 2), (1, 1), (1, 1)], frame=jpegs.ARITHMETIC),
    "progressive arithmetic": jpeg(ONE, frame=jpegs.PROGRESSIVE_ARITHMETIC),
    "lossless": jpeg(ONE, frame=jpegs.LOSSLESS),
    "hierarchical": jpeg(ONE, frame=0xC5),
    "12 bits": jpegs.TWELVE_BITS,
    "lossless 16 bits": jpegs.LOSSLESS_SIXTEEN_BITS,
    "0 components": jpeg(ONE).replace(b"\x00\x25\x00\x2d\x03", b"\x00\x25\x00\x2d\x00"),
    "0 pixels": jpeg(ONE).replace(b"\x00\x25\x00\x2d\x03", b"\x00\x00\x00\x2d\x03"),
}


def pillows(data: bytes) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]] | None":
    try:
        return np.array(Image.open(io.BytesIO(data)).convert("RGB"))
    except Exception:  # whatever it throws: it is one that cannot be read
        return None


def same(data: bytes) -> bool:
    """Return whether a file is read as Pillow reads it, or is a bad sample where Pillow throws."""
    theirs = pillows(data)
    try:
        ours = Decoder().decode(data, "x")
    except BadImage:
        return theirs is None
    return theirs is not None and np.array_equal(ours.permute(1, 2, 0).numpy(), theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_a_jpeg_is_read_as_pillow_reads_it_or_is_a_bad_sample(kind: str) -> None:
    assert same(KINDS[kind])


def test_every_sampling() -> None:
    """All of three components that the standard allows."""
    factors = list(itertools.product((1, 2, 3, 4), repeat=2))
    every = [some for some in itertools.product(factors, repeat=3) if sum(a * b for a, b in some) <= 10]
    assert len(every) > 500
    assert [some for some in every if not same(jpeg(some, (20, 18)))] == []


def test_the_reason_names_what_kind_of_jpeg_it_is() -> None:
    with pytest.raises(BadImage, match="is a JPEG of 12 bits a value, which cannot be read here; save it as a PNG"):
        Decoder().decode(jpegs.TWELVE_BITS, "x")


@pytest.fixture
def files(tmp_path: Path) -> ImageFiles:
    for number, data in enumerate(KINDS.values()):
        (tmp_path / f"{number}.jpg").write_bytes(data)
    return ImageFiles(tmp_path, [f"{number}.jpg" for number in range(len(KINDS))], [0] * len(KINDS), ["all"])


@pytest.mark.parametrize("decodes_region", [False, True])
def test_a_batch_of_all_kinds_is_read_the_bad_ones_skipped(files: ImageFiles, decodes_region: bool) -> None:
    """The decoder of regions gives the same pixels as the whole image does, and skips the same."""
    if decodes_region:
        region_decode.require()
    chain = Chain([v2.RandomResizedCrop(24)])
    files.decode_with(Decoder(region=decodes_region))
    samples = Samples(files, chain, 0, "sample", "skip")
    batch = samples.__getitems__(BatchIndices(0, 0, np.arange(len(files))))
    assert not isinstance(batch, Exception)
    read = [number for number, data in enumerate(KINDS.values()) if pillows(data) is not None]
    assert batch.indices.tolist() == read
    assert {bad.sample for bad in batch.bad} == set(range(len(KINDS))) - set(read)
    files.decode_with(Decoder())
    whole = Samples(files, chain, 0, "sample", "skip").__getitems__(BatchIndices(0, 0, np.arange(len(files))))
    assert not isinstance(whole, Exception)
    assert torch.equal(batch.images, whole.images)


@pytest.mark.parametrize("way", ["dataset.cache=none", "dataset.cache=memory", "dataset.decoder=region"])
def test_training_skips_what_cannot_be_read(way: str, tmp_path: Path, small_config: Callable[..., Config]) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number, data in enumerate(KINDS.values()):
            (tmp_path / "data" / name / f"{number}.jpg").write_bytes(data)
    job = build(
        small_config(
            "dataset=image_folder",
            f"dataset.root={tmp_path}/data",
            "dataset.on_bad=skip",
            "dataset.num_workers=0",
            "dataset.max_bad=null",
            "epochs=1",
            "transforms=imagenet",
            "transforms.image_size=32",
            way,
        )
    )
    job.trainer.run()
    bad = len(job.trainer.train_loader.bad) + len(job.trainer.evaluator.loader.bad)
    job.close()
    assert bad == 2 * sum(pillows(data) is None for data in KINDS.values())


def test_predict_and_evaluate_go_on(files: ImageFiles, small_run: Run) -> None:
    trained = load_trained(small_run.folder, device="cpu")
    paths = [files.location(number) for number in range(len(files))]
    scored = list(score(trained, path_images(paths, trained.classes), num_workers=0))
    failed = sum(len(one.failed) for one in scored)
    assert failed == sum(pillows(data) is None for data in KINDS.values())
    assert failed + sum(len(one.indices) for one in scored) == len(KINDS)
