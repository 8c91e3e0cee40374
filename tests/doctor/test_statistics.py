"""Statistics: classes, sizes, modes, mean and standard deviation, and what is worth saying of them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from expkit.config.compose import compose_one, plain
from expkit.data.datasets import load
from expkit.doctor.scan import Collection, scan
from expkit.doctor.statistics import collect, judge_classes, judge_images, moments
from tests.doctor.drawn import picture, reading, write


def test_mean_and_std_count_every_image_alike() -> None:
    black, grey = Image.new("RGB", (10, 10), 0), Image.new("RGB", (90, 90), (51, 102, 255))
    mean, std = moments([reading(black), reading(grey)])
    assert mean == pytest.approx((0.1, 0.2, 0.5))
    assert std == pytest.approx((0.1, 0.2, 0.5))


def test_the_override_can_be_pasted_and_val_does_not_enter_it(tmp_path: Path) -> None:
    train = write(tmp_path / "train", "cat/0.jpg", "dog/0.jpg", "dog/1.jpg")
    (tmp_path / "val/cat").mkdir(parents=True)
    (tmp_path / "val/dog").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "val/cat/0.png")
    picture(9).convert("L").save(tmp_path / "val/dog/0.png")
    found = scan(
        Collection(load({"name": "image_folder", "root": str(train), "val_root": str(tmp_path / "val")})), 1, 30
    )
    statistics = collect(found)
    pixels = [np.array(Image.open(path)) / 255 for path in sorted(train.glob("*/*.jpg"))]
    config = plain(compose_one([statistics.as_override()]))
    assert config["transforms"]["normalize"]["mean"] == pytest.approx(np.mean(pixels, axis=(0, 1, 2)), abs=2e-3)
    assert config["transforms"]["normalize"]["std"] == pytest.approx(np.std(pixels, axis=(0, 1, 2)), abs=2e-3)
    assert {split: counts.tolist() for split, counts in statistics.counts.items()} == {"train": [1, 2], "val": [1, 1]}
    assert statistics.modes == {"RGB": 4, "L": 1}
    assert statistics.as_json()["sizes"]["96×80"] == 4


@pytest.mark.parametrize(
    ("counts", "is_balanced", "level"),
    [([100, 90], False, None), ([100, 60], False, "note"), ([100, 9], False, "problem"), ([100, 9], True, "note"),
     ([100, 0], True, "problem")],
)  # fmt: skip
def test_only_severe_imbalance_is_a_problem(counts: list[int], is_balanced: bool, level: str | None) -> None:
    found = judge_classes(np.array(counts), ("cat", "dog"), is_balanced)
    assert [one.level for one in found] == ([level] if level else [])


def test_odd_images_are_noted() -> None:
    images = {
        0: reading(picture(0, (64, 64))), 1: reading(picture(1, (400, 64))), 2: reading(picture(2, (2000, 1500))),
        3: reading(Image.new("RGB", (300, 300), "red")),
    }  # fmt: skip
    said = [one.sentence for one in judge_images(images, image_size=224, native=False)]
    assert [sentence.split(" ")[0] for sentence in said] == ["2", "1", "1", "1"]
    assert "smaller than the model's input of 224 pixels" in said[0]
    assert "more than 4 times as large" in said[1]
    assert "more than 3 times as long as wide" in said[2]
    assert "of a single colour" in said[3]


def test_native_size_of_images_that_differ_is_noted() -> None:
    images = {0: reading(picture(0)), 1: reading(picture(1, (50, 50)))}
    (found,) = judge_images(images, image_size=80, native=True)
    assert found.remedy == "transforms=imagenet transforms.image_size=224"
    assert judge_images({0: images[0]}, image_size=80, native=True) == []
