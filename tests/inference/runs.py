"""A small run, trained once a session, for every test that needs a trained model."""

import json
from pathlib import Path

from PIL import Image

import expkit


def overrides(folder: Path) -> list[str]:
    """Return the overrides of a run of a second or two, whose data and outputs lie in the folder."""
    shapes = [f"dataset.root={folder}/shapes", "dataset.size=32", "dataset.train_images=60", "dataset.val_images=40"]
    return [*shapes, "dataset.num_workers=0", "epochs=2", "batch_size=16", "logger=none", "model.width=4",
            f"output_dir={folder}/outputs"]  # fmt: skip


def trained_run(folder: Path, *more: str) -> expkit.Run:
    """Train a small run."""
    return expkit.train([*overrides(folder), *more])


def coco_files(folder: Path, images: int = 24) -> list[str]:
    """Draw images with a red and a green square, one of them, or none, in COCO's layout; returns the overrides."""
    folder.mkdir()
    colours = [(220, 30, 30), (30, 200, 40)]
    annotations = []
    for number in range(images):
        picture = Image.new("RGB", (32, 32), (90, 90, 90))
        for category in (0, 1):
            if number >> category & 1:
                picture.paste(colours[category], (2 + 15 * category, 4, 14 + 15 * category, 20 + number % 8))
                annotations.append({"image_id": number, "category_id": 10 * category})
        picture.save(folder / f"{number}.png")
    content = {
        "images": [{"id": number, "file_name": f"{number}.png"} for number in range(images)],
        "annotations": annotations,
        "categories": [{"id": 0, "name": "red"}, {"id": 10, "name": "green"}],
    }
    (folder / "instances.json").write_text(json.dumps(content))
    return ["dataset=coco", f"dataset.root={folder}", f"dataset.annotations={folder}/instances.json"]


def multilabel_run(folder: Path) -> expkit.Run:
    """Train a small run whose images have none, one or two labels."""
    common = ["loss=bce", "dataset.num_workers=0", "epochs=3", "batch_size=6", "logger=none", "model.width=8",
              f"output_dir={folder}/outputs", "transforms.image_size=32"]  # fmt: skip
    return expkit.train([*coco_files(folder / "squares"), *common])


def task_run(folder: Path, task: str) -> expkit.Run:
    """Train a small run of regression, segmentation or reconstruction."""
    small = {"regression": [], "segmentation": ["model.depth=1"], "reconstruction": ["model.code=4"]}[task]
    return trained_run(folder, f"task={task}", "epochs=1", "dataset.train_images=20", "dataset.val_images=10", *small)
