"""Folds and label noise as options of any data set."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expkit.core.errors import ConfigError
from expkit.data.datasets import load
from tests.inference.runs import coco_files

FAKE: dict[str, Any] = {"name": "fake", "images": 60, "image_size": 8, "num_classes": 3}


def test_a_fold_replaces_the_data_s_own_validation_split() -> None:
    whole = load(FAKE)
    splits = load(FAKE | {"fold": 1, "folds": 3})
    assert splits.val is not None
    assert len(splits.train) + len(splits.val) == len(whole.train) + (0 if not whole.held_out else len(whole.val or ()))
    assert any(note.startswith("held out fold 1 of 3") for note in splits.notes)


def test_validation_labels_stay_as_they_are() -> None:
    clean, noisy = load(FAKE), load(FAKE | {"label_noise": 0.5})
    assert clean.val is not None
    assert noisy.val is not None
    assert (clean.val.targets == noisy.val.targets).all()
    changed = int((clean.train.targets != noisy.train.targets).sum())
    assert changed == round(0.5 * len(clean.train))
    assert f"gave {changed} of {len(clean.train)} training images another class" in noisy.notes[-1]
    assert np.array_equal(noisy.train.image(3), clean.train.image(3))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"fold": 5}, r"dataset\.fold: expected an integer from 0 up to dataset\.folds - 1, 4, or null, got 5"),
        ({"folds": 1}, r"dataset\.folds: expected an integer from 2 up, got 1"),
        ({"fold": 0, "folds": 2000}, r"dataset\.folds: \d+ images cannot fill 2000 folds"),
        ({"label_noise": 1.0}, r"dataset\.label_noise: expected a share from 0 up to, not including, 1, got 1"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load(FAKE | options)


def test_a_run_trains_on_a_fold(small_config: Callable[..., Any]) -> None:
    from expkit.runs.build import build

    job = build(small_config("dataset.fold=4", "dataset.label_noise=0.1"))
    assert any(note.startswith("held out fold 4 of 5, 8 of 40") for note in job.notes)


def test_several_labels_of_which_none_validates_are_refused(tmp_path: Path) -> None:
    coco = {"name": "coco", "root": str(tmp_path / "x"), "annotations": str(tmp_path / "x/instances.json")}
    coco_files(tmp_path / "x", 9)
    content = json.loads((tmp_path / "x/instances.json").read_text())
    held_out = [load(coco).val.sample_name(number) for number in range(2)]  # type: ignore[union-attr]
    content["annotations"] = [one for one in content["annotations"] if f"{one['image_id']}.png" not in held_out]
    (tmp_path / "x/instances.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="no validation image has a label, so nothing can be scored; raise"):
        load(coco)
