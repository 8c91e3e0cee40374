"""limit_eval_batches and limit_train_batches: a subset that is spread over the classes, and said."""

import re
from pathlib import Path

import numpy as np
import pytest

import expkit
from expkit.core.formatting import subset_of
from expkit.core.seeding import derive_seed
from expkit.data.limits import spread_over_classes
from tests.inference.runs import coco_files, overrides


def keys(count: int) -> np.ndarray:
    return np.array([derive_seed(0, "subset", f"{number}") for number in range(count)], dtype=np.uint64)


@pytest.mark.parametrize("count", [1, 5, 10, 12, 37, 100])
def test_each_class_is_there_and_the_rest_is_in_proportion(count: int) -> None:
    targets = np.repeat(np.arange(10), [28, 1, 8, 8, 9, 9, 9, 9, 9, 10])
    taken = spread_over_classes(targets, keys(100), count)
    assert len(set(taken.tolist())) == count == len(taken)
    assert (np.diff(taken) > 0).all()
    counts = np.bincount(targets[taken], minlength=10)
    assert np.count_nonzero(counts) == min(count, 10)
    if count >= 30:
        assert abs(counts[0] / count - 0.28) < 0.1
    again = np.roll(np.arange(100), 7)  # another listing of the same files
    assert set(again[spread_over_classes(targets[again], keys(100)[again], count)].tolist()) == set(taken.tolist())


def test_several_labels_are_spread_by_key(tmp_path: Path) -> None:
    taken = spread_over_classes(np.eye(3).repeat(30, axis=0), keys(90), 12)
    assert len({place // 30 for place in taken.tolist()}) == 3
    words = ["loss=bce", "dataset.num_workers=0", "experiment=debug", "batch_size=2", "logger=none", "model.width=4"]
    run = expkit.train([*coco_files(tmp_path / "x"), *words, f"output_dir={tmp_path}", "transforms.image_size=16"])
    assert "evaluates 2 of 5 validation images" in (run.folder / "log.txt").read_text()


@pytest.mark.parametrize("sampler", ["shuffle", "sequential"])
def test_a_debug_run_sees_several_classes_and_says_that_its_scores_are_of_a_subset(
    tmp_path: Path, sampler: str
) -> None:
    words = [
        *overrides(tmp_path),
        f"sampler={sampler}",
        "batch_size=8",
        "limit_train_batches=1",
        "limit_eval_batches=1",
    ]
    run = expkit.train([*words, "watch=default", "epochs=1"])
    log, report = (run.folder / "log.txt").read_text(), (run.folder / "report.html").read_text()
    note = "evaluates 8 of 40 validation images (limit_eval_batches=1), spread over the classes by key"
    assert note in log
    assert note in report
    assert "60 images to train, 8 of 40 to validate" in log
    assert re.search(r"val/accuracy:? +\d\.\d+ +\(of 8 of 40 images\)", log)
    assert re.search(r"best val/accuracy:? +\d\.\d+ +\(of 8 of 40 images\)", log)
    assert "val/accuracy, last epoch (1) (of 8 of 40 images)" in report
    trained = "trains on 8 of 60 training images (limit_train_batches=1), spread over the classes by key"
    assert (trained in log) == (sampler == "sequential")


def test_what_is_no_subset_is_not_called_one() -> None:
    assert subset_of({"limit_eval_batches": 2, "batch_size": 32}, 64) == ""
    assert subset_of({"limit_eval_batches": None, "batch_size": 32}, 640) == ""
    assert subset_of({"limit_eval_batches": 2, "batch_size": 32, "eval_batch_size": 10}, 64) == "20 of 64 images"
    assert subset_of({"limit_eval_batches": "2"}, None) == ""
