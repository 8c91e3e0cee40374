"""The scan: what one reading of an image keeps, and that bad files are named while the rest is read."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from expkit.data.datasets import load
from expkit.doctor.scan import Collection, measure, scan
from tests.doctor.drawn import picture, reading, write


def collection(root: Path) -> Collection:
    return Collection(load({"name": "image_folder", "root": str(root), "val_fraction": 0.5}))


def test_a_reading_keeps_exact_moments_of_the_pixels() -> None:
    image = torch.randint(0, 256, (3, 37, 23), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    kept = measure(image, Path("nowhere"))
    scaled = image.flatten(1).double() / 255
    assert (kept.width, kept.height, kept.mode, kept.turned) == (23, 37, "", False)
    np.testing.assert_allclose(kept.mean, scaled.mean(1).numpy(), rtol=1e-12)
    np.testing.assert_allclose(kept.square, (scaled**2).mean(1).numpy(), rtol=1e-12)


def test_the_digest_tells_pixels_and_shapes_apart() -> None:
    image = torch.zeros(3, 4, 6, dtype=torch.uint8)
    dot = image.clone()
    dot[1, 2, 3] = 1
    digests = {measure(one, Path("x")).digest for one in (image, image.clone(), dot, image.reshape(3, 6, 4))}
    assert len(digests) == 3


def test_one_colour_is_seen() -> None:
    assert reading(Image.new("RGB", (9, 9), (200, 3, 77))).one_colour
    assert not reading(picture(0)).one_colour


def test_a_copy_of_lower_quality_keeps_its_hash_and_another_picture_has_another(tmp_path: Path) -> None:
    picture(1).save(tmp_path / "worse.jpg", quality=40)
    with Image.open(tmp_path / "worse.jpg") as worse:
        near = reading(worse)
    bits = (reading(picture(1)).perceptual ^ near.perceptual).bit_count()
    others = [(reading(picture(1)).perceptual ^ reading(picture(seed)).perceptual).bit_count() for seed in range(2, 12)]
    assert bits <= 4
    assert min(others) > 8


def test_mode_and_rotation_are_those_of_the_file(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(0).convert("L").save(tmp_path / "turned.jpg", exif=exif)
    kept = measure(torch.zeros(3, 8, 8, dtype=torch.uint8), tmp_path / "turned.jpg")
    assert (kept.mode, kept.turned) == ("L", True)


def test_bad_files_are_named_and_the_others_read(tmp_path: Path) -> None:
    root = write(tmp_path / "pets", *(f"{name}/{number}.jpg" for name in ("cat", "dog") for number in range(5)))
    (root / "cat/2.jpg").write_bytes(b"")
    whole = (root / "dog/3.jpg").read_bytes()
    (root / "dog/3.jpg").write_bytes(whole[: len(whole) // 2])
    called: list[tuple[int, str]] = []
    pets = collection(root)
    found = scan(pets, 2, timeout=30, advance=lambda *done: called.append(done))
    reasons = {pets.name(number): reason for number, reason in found.bad.items()}
    assert set(reasons) == {"cat/2.jpg", "dog/3.jpg"}
    assert reasons["cat/2.jpg"] == "the file is empty"
    assert len(found.readings) == 8
    assert (len(called), called[-1]) == (10, (1, "reading, 2 unreadable"))
    assert len(found.readable("train")) + len(found.readable("val")) == 8
    names = {
        found.readable(split).sample_name(i) for split in ("train", "val") for i in range(len(found.readable(split)))
    }
    assert not names & set(reasons)


def test_what_a_dataset_raises_is_a_reason(tmp_path: Path) -> None:
    pets = collection(write(tmp_path / "pets", "cat/0.jpg", "cat/1.jpg", "dog/0.jpg", "dog/1.jpg"))
    shutil.rmtree(tmp_path / "pets/dog")
    pets.parts["train"].image = None  # type: ignore[method-assign, assignment]
    found = scan(pets, 1, timeout=30)
    assert len(found.bad) == 3
    assert sorted(reason.split(":")[0] for reason in found.bad.values())[1:] == ["TypeError", "TypeError"]


def test_numbers_run_through_both_splits(tmp_path: Path) -> None:
    pets = collection(write(tmp_path / "pets", "cat/0.jpg", "cat/1.jpg", "dog/0.jpg", "dog/1.jpg"))
    assert sorted(pets.name(number) for number in range(4)) == ["cat/0.jpg", "cat/1.jpg", "dog/0.jpg", "dog/1.jpg"]
    assert pets.split_of == ["train", "train", "val", "val"]
    assert all(pets.label(number) == pets.name(number)[:3] for number in range(4))
    with pytest.raises(IndexError):
        pets.find(4)
