"""A small run, trained once a session, for every test that needs a trained model."""

from pathlib import Path

import expkit


def overrides(folder: Path) -> list[str]:
    """Return the overrides of a run of a second or two, whose data and outputs lie in the folder."""
    shapes = [f"dataset.root={folder}/shapes", "dataset.size=32", "dataset.train_images=60", "dataset.val_images=40"]
    return [*shapes, "dataset.num_workers=0", "epochs=2", "batch_size=16", "logger=none", "model.width=4",
            f"output_dir={folder}/outputs"]  # fmt: skip


def trained_run(folder: Path, *more: str) -> expkit.Run:
    """Train a small run."""
    return expkit.train([*overrides(folder), *more])
