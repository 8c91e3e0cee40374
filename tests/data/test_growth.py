"""What a transform makes of an image has a limit: a thin image is a bad sample, in every command that applies one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from expkit.api import Run
from expkit.config.hydra_loader import Config
from expkit.data.decode import BadImage
from expkit.data.growth import Unfit, limit_growth, reason_against
from expkit.inference import load_trained, path_images, score
from expkit.runs.build import build

THIN = (30_000, 1)  # width, height


@pytest.fixture
def folder(image_files: Callable[..., Path]) -> Path:
    """Twelve usual images, and a thin one that comes first."""
    root = image_files("data", *(f"{name}/{number}.png" for name in ("cat", "dog") for number in range(6)))
    Image.fromarray(np.zeros((*THIN[::-1], 3), np.uint8)).save(root / "cat/00.png")
    return root


@pytest.mark.parametrize(
    ("step", "height", "width"),
    [
        (v2.Resize(256), 1, 30_000),
        (v2.Resize(256), 30_000, 1),
        (v2.Resize([256], max_size=500), 1, 30_000),  # the shorter side would be 0
        (v2.Resize(None, max_size=300), 40_000, 1),
        (v2.RandomApply([v2.Resize(256)], p=1.0), 1, 30_000),
        (v2.RandomChoice([v2.Identity(), v2.RandomOrder([v2.Resize(256)])], p=[0.0, 1.0]), 2, 60_000),
        (v2.RandomShortestSize([200, 256]), 30_000, 1),
        (v2.RandomResize(100, 256), 1, 30_000),
        (v2.RandomRotation(10, expand=True), 1, 30_000),
        (v2.RandomZoomOut(p=1.0, side_range=(3.9, 4.0)), 3_000, 3_000),
    ],
)
def test_no_transform_grows_an_image_without_limit(step: torch.nn.Module, height: int, width: int) -> None:
    limit_growth(step)
    with pytest.raises(Unfit, match=r"is an image of .* pixels, and .* would make .*; crop it or leave it out"):
        step(torch.zeros(3, height, width, dtype=torch.uint8))


@pytest.mark.parametrize("size", [8, [8], [5, 9], None])
@pytest.mark.parametrize("most", [None, 12])
def test_the_size_that_is_reckoned_is_torchvision_s(size: object, most: int | None) -> None:
    if (isinstance(size, list) and len(size) == 2) or (size is None and most is None):
        most = None if size else 12
    step = v2.Resize(size, max_size=most)
    crop = v2.CenterCrop(10)
    for height, width in ((7, 31), (31, 7), (10, 10), (200, 3), (3, 200)):
        said = reason_against([step, crop], height, width)
        made = None if said else step(torch.zeros(3, height, width, dtype=torch.uint8)).shape[-2:]
        from expkit.data.growth import _resized

        assert made is None or tuple(made) == _resized(step, height, width)


@pytest.mark.parametrize("way", ["dataset.cache=none", "dataset.cache=memory"])
@pytest.mark.parametrize("workers", [0, 1])
def test_training_skips_a_thin_image_even_if_it_is_the_first(
    way: str, workers: int, folder: Path, small_config: Callable[..., Config]
) -> None:
    config = small_config(
        "dataset=image_folder", f"dataset.root={folder}", f"dataset.val_root={folder}", "dataset.on_bad=skip", way,
        f"dataset.num_workers={workers}", "epochs=1", "transforms=tutorial", "transforms.image_size=32",
        "transforms.resize_size=256",
    )  # fmt: skip
    job = build(config)
    job.trainer.run()
    found = [*job.trainer.train_loader.bad.values(), *job.trainer.evaluator.loader.bad.values()]
    job.close()
    assert [Path(bad.location).name for bad in found] == ["00.png"] * 2
    assert all("30,000×1 pixels, and Resize would make 7,680,000×256" in bad.reason for bad in found)


def test_it_is_named_where_a_bad_sample_ends_the_run(folder: Path, small_config: Callable[..., Config]) -> None:
    job = build(
        small_config(
            "dataset=image_folder", f"dataset.root={folder}", "dataset.num_workers=0", "transforms=tutorial",
            "transforms.image_size=32", "transforms.resize_size=256",
        )
    )  # fmt: skip
    with pytest.raises(BadImage, match=r"00\.png: is an image of 30,000×1 pixels"):
        job.trainer.run()
    job.close()


def test_an_image_that_is_smaller_than_a_crop_is_a_bad_sample(
    folder: Path, small_config: Callable[..., Config]
) -> None:
    (folder / "cat/00.png").unlink()
    Image.new("RGB", (12, 12)).save(folder / "cat/1.png")
    config = small_config(
        "dataset=image_folder", f"dataset.root={folder}", f"dataset.val_root={folder}", "dataset.on_bad=skip",
        "dataset.num_workers=0", "epochs=1", "transforms=tutorial", "transforms.image_size=32",
        "transforms.train=[{name:RandomCrop,size:32}]",
    )  # fmt: skip
    job = build(config)
    job.trainer.run()
    (bad,) = job.trainer.train_loader.bad.values()
    job.close()
    assert "the transforms cannot be applied to its 12×12 pixels: ValueError: Required crop size" in bad.reason


def test_predict_and_evaluate_name_it_and_go_on(folder: Path, small_run: Run) -> None:
    trained = load_trained(small_run.folder, device="cpu")
    trained.chain = type(trained.chain)([v2.Resize(256), v2.CenterCrop(32)])
    for step in trained.chain.steps:
        limit_growth(step)
    paths = [str(folder / "cat/00.png"), str(folder / "cat/1.png")]
    (scored,) = score(trained, path_images(paths, trained.classes), num_workers=0)
    assert [(bad.location, "would make" in bad.reason) for bad in scored.failed] == [(paths[0], True)]
    assert scored.indices.tolist() == [1]
    with pytest.raises(BadImage, match=r"00\.png: is an image of"):
        trained.seen(paths[0])
