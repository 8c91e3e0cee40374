"""tests/bench/digests.py: what of a run's folder counts, and what does not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.bench.digests import CONFIGS, PARTS, _arranged, differences, digest, joined, labels, parts_of

POINTS = [
    {"kind": "step", "step": 1, "loss": 1.5, "images_per_second": 80.0},
    {"kind": "epoch", "step": 2, "val/loss": 1.25, "seconds": 0.5, "data_wait": 0.1, "system/memory": 7},
]
STATE = {"epoch": 1, "schedule": {"step": 2}, "metrics_bytes": 300}


def write_run(folder: Path, **changed: Any) -> Path:
    """Write what of a run's folder is read, with some of it changed."""
    one = {
        "weight": [1.0, 2.0],
        "points": POINTS,
        "state": STATE,
        "config": {"seed": 0, "output_dir": "runs"},
        "at": "",
    }
    one |= changed
    checkpoints = folder / "checkpoints"
    checkpoints.mkdir(parents=True)
    for number, name in enumerate(("epoch_0001_step_00000001", "epoch_0002_step_00000002")):
        tensors = {"model/weight": np.array(one["weight"]) + number, "optimizer/state/0/step": np.array(number)}
        save_file(tensors, checkpoints / f"{name}.safetensors")
        (checkpoints / f"{name}.json").write_text(json.dumps({"digest": one["at"], "state": one["state"]}))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(point) + "\n" for point in one["points"]))
    (folder / "config.yaml").write_text(json.dumps(one["config"]))
    result = {"best": "epoch_0001_step_00000001.safetensors", "seconds": 1.0, "weights_sha256": "ab"}
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def point(number: int, **values: Any) -> list[dict[str, Any]]:
    return [one | values if at == number else one for at, one in enumerate(POINTS)]


SAME = {
    "another place": {"config": {"seed": 0, "output_dir": "elsewhere"}},
    "another moment": {"at": "later"},
    "slower": {"points": point(1, **{"seconds": 9.0, "data_wait": 0.9, "system/memory": 8})},
    "bytes of the metrics": {"state": STATE | {"metrics_bytes": 301}},
}
DIFFERENT = {
    "a weight": ({"weight": [1.0, 2.5]}, "tensors: 2 changed (best model/weight, last model/weight)"),
    "a kind of number": (
        {"weight": np.array([1.0, 2.0], dtype=np.float32)},
        "tensors: 2 changed (best model/weight, last model/weight)",
    ),
    "a plain value": (
        {"state": STATE | {"schedule": {"step": 3}}},
        "tensors: 2 changed (best plain schedule, last plain schedule)",
    ),
    "a score": ({"points": point(1, **{"val/loss": 1.26})}, "metrics: 1 changed (val/loss)"),
    "a new score": ({"points": point(1, **{"val/map": 1.0})}, "metrics: 1 new (val/map)"),
    "a value's place": ({"points": POINTS[::-1]}, "metrics: 4 changed (kind, loss, step, val/loss)"),
    "a value of the config": ({"config": {"seed": 1}}, "config: 1 changed (seed)"),
    "a key of the config": ({"config": {"seed": 0, "model": {"width": 4}}}, "config: 1 new (model.width)"),
    "a key that is gone": ({"config": {"model": {}}}, "config: 1 new (model); 1 gone (seed)"),
}


@pytest.mark.parametrize("changed", SAME.values(), ids=SAME)
def test_places_and_times_do_not_count(tmp_path: Path, changed: dict[str, Any]) -> None:
    one, other = parts_of(write_run(tmp_path / "one")), parts_of(write_run(tmp_path / "other", **changed))
    assert differences({"run": one}, {"run": other}) == []
    assert [digest(one[part]) for part in PARTS] == [digest(other[part]) for part in PARTS]


@pytest.mark.parametrize(("changed", "told"), DIFFERENT.values(), ids=DIFFERENT)
def test_what_differs_is_named(tmp_path: Path, changed: dict[str, Any], told: str) -> None:
    one, other = parts_of(write_run(tmp_path / "one")), parts_of(write_run(tmp_path / "other", **changed))
    assert differences({"run": other}, {"run": one}) == [f"run: {told}"]


def test_a_sweep_is_in_the_order_of_its_configs(tmp_path: Path) -> None:
    runs = [parts_of(write_run(tmp_path / str(seed), config={"seed": seed})) for seed in (0, 1)]
    assert joined(runs) == joined(runs[::-1])
    assert joined(runs)["config"] == {"run 0: seed": "0", "run 1: seed": "1"}


def test_a_row_that_one_side_lacks_is_told(tmp_path: Path) -> None:
    parts = parts_of(write_run(tmp_path))
    assert differences({"a": parts}, {"a": parts, "b": parts}) == ["b: is only in one of the two"]
    assert differences({"a": {"refused": {"answer": "no"}}}, {"a": {"refused": {"answer": "no"}}}) == []


def test_an_override_is_given_once() -> None:
    for words in CONFIGS.values():
        names = [word.partition("=")[0] for word in _arranged(words)]
        assert len(names) == len({*names})


def test_labels_are_those_of_the_drawn_classes(image_files: Callable[..., Path]) -> None:
    found = labels(image_files("train", "star/0.jpg", "circle/1.jpg"))
    assert [one["file_name"] for one in found["images"]] == ["star/0.jpg", "circle/1.jpg"]
    assert [(one["image_id"], one["category_id"]) for one in found["annotations"]] == [(0, 0), (0, 1)]
