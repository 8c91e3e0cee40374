"""Which jobs are measured alike."""

from dataclasses import replace
from typing import Any

import pytest

from expkit.data.datasets import load
from expkit.sweeps.scales import images_of, scale_of

FAKE: dict[str, Any] = {"name": "fake", "images": 20, "image_size": 8, "num_classes": 2}
BASE: dict[str, Any] = {"batch_size": 4, "loss": {"name": "cross_entropy"}, "limit_eval_batches": None}


def images(**options: Any) -> str:
    node = FAKE | options
    return images_of(load(node), node)


def test_folds_and_parts_of_one_set_are_alike() -> None:
    folds = {images(fold=fold, folds=4) for fold in range(4)}
    assert len(folds) == 1
    assert images(fold=0, folds=5) not in folds
    assert images(split_seed=0) == images(split_seed=1)
    assert images(split_seed=0) not in folds
    parts = {images_of(replace(load(FAKE), held_out=True), FAKE | {"val_fraction": part}) for part in (0.5, 0.2)}
    assert len(parts) == 2
    assert images(num_classes=3) != images()


@pytest.mark.parametrize(
    ("change", "monitor", "alike"),
    [({"batch_size": 8}, "accuracy", True), ({"batch_size": 8, "limit_eval_batches": 2}, "accuracy", False),
     ({"eval_batch_size": 4, "batch_size": 8, "limit_eval_batches": 2}, "accuracy", False),
     ({"loss": {"name": "cross_entropy", "label_smoothing": 0.1}}, "accuracy", True),
     ({"loss": {"name": "cross_entropy", "label_smoothing": 0.1}}, "loss", False)],
)  # fmt: skip
def test_what_changes_the_unit_is_another_scale(change: dict[str, Any], monitor: str, alike: bool) -> None:
    assert (scale_of(BASE | change, "x", monitor) == scale_of(BASE, "x", monitor)) == alike
    assert scale_of(BASE, "x", "f1") != scale_of(BASE, "x", monitor)
