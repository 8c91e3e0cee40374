"""A model from its checkpoint alone: the same numbers as in training, and nothing executed or believed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import expkit
from expkit.checkpoints.reader import read_checkpoint
from expkit.core.manifest import finished_checkpoints, manifest_path
from expkit.core.sealing import seal_of
from expkit.inference import load_trained
from expkit.inference.evaluate.dataset import split_of
from expkit.inference.evaluate.evaluate import evaluate
from tests.inference.runs import trained_run

Change = Callable[[dict[str, Any]], None]


def checkpoints(run: expkit.Run) -> list[Path]:
    return list(finished_checkpoints(run.folder / "checkpoints")[0])


def changed(run: expkit.Run, folder: Path, change: Change) -> Path:
    """Copy a checkpoint with its facts changed, sealed anew as whoever shares it could do."""
    path = Path(shutil.copy(checkpoints(run)[-1], folder))
    facts = json.loads(manifest_path(checkpoints(run)[-1]).read_bytes())
    del facts["digest"]
    change(facts)
    body = json.dumps(facts).encode().removesuffix(b"}")
    manifest_path(path).write_bytes(body + seal_of(body))
    return path


def test_the_checkpoint_alone_gives_the_scores_of_training(small_run: expkit.Run, tmp_path: Path) -> None:
    for path in (checkpoints(small_run)[-1], manifest_path(checkpoints(small_run)[-1])):
        shutil.copy(path, tmp_path)
    trained = load_trained(tmp_path / checkpoints(small_run)[-1].name, device="cpu")
    scores = evaluate(trained, split_of(trained.config["dataset"], "val")).scores.overall
    assert scores["accuracy"] == pytest.approx(small_run.scores["val/accuracy"])
    assert trained.scores["accuracy"] == pytest.approx(small_run.scores["val/accuracy"])


def test_nothing_of_its_config_is_left_to_find_out(small_run: expkit.Run) -> None:
    node = load_trained(small_run.folder).config["transforms"]
    assert (node["image_size"], node["resize_size"]) == (32, 37)
    assert node["normalize"]["mean"] == [0.485, 0.456, 0.406]


def test_best_and_last(small_run: expkit.Run) -> None:
    first, last = checkpoints(small_run)
    assert load_trained(small_run.folder, "last").path == last
    scores = [json.loads(manifest_path(path).read_bytes())["scores"]["accuracy"] for path in (first, last)]
    assert load_trained(small_run.folder, "best").path == (last if scores[1] > scores[0] else first)


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_taken(small_run: expkit.Run, tmp_path: Path) -> None:
    run = Path(shutil.copytree(small_run.folder, tmp_path / "run"))
    first, last = finished_checkpoints(run / "checkpoints")[0]
    data = bytearray(last.read_bytes())
    data[-1] ^= 1
    last.write_bytes(data)
    trained = load_trained(run, "last")
    assert trained.path == first
    assert len(trained.notes) == 1
    assert last.name in trained.notes[0]


def test_of_a_run_with_an_average_that_is_taken(tmp_path: Path) -> None:
    run = trained_run(tmp_path, "ema_decay=0.5", "checkpoint.keep_last=2")
    trained = load_trained(run.folder, "last", device="cpu")
    state = read_checkpoint(trained.path)[0]
    given = trained.model.state_dict()
    assert all(torch.equal(given[name], value) for name, value in state["average"]["model"].items())
    assert not all(torch.equal(given[name], value) for name, value in state["model"].items())
    scores = evaluate(trained, split_of(trained.config["dataset"], "val")).scores.overall
    assert scores["loss"] == pytest.approx(run.scores["val/loss"], abs=1e-4)


def test_the_global_generator_is_left_alone(small_run: expkit.Run) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    load_trained(small_run.folder)
    assert torch.equal(torch.rand(4), expected)


def set_path(*path: str, value: Any) -> Change:
    def change(facts: dict[str, Any]) -> None:
        node = facts
        for word in path[:-1]:
            node = node[word]
        node[path[-1]] = value

    return change


CALL = {"_target_": "os.system", "_args_": ["touch hacked"]}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (set_path("config", "model", "name", value="os.system"), "unknown model 'os.system'"),
        (set_path("config", "model", value=CALL), "expected a mapping with a `name`"),
        (set_path("config", "model", "_target_", value="os.system"), "has no option '_target_'"),
        (set_path("config", "model", "width", value=5), "its weights do not fit its model small_resnet"),
        (set_path("transforms", "eval", value=[{"name": "Lambda"}]), "unknown transform 'Lambda'"),
        (set_path("transforms", "eval", value=[CALL]), "expected a mapping with a `name`"),
        (set_path("transforms", "image_size", value="auto"), "image_size: is 'auto'"),
        (set_path("transforms", "normalize", value={}), "normalize.mean: expected 3 numbers"),
        (set_path("config", value="${oc.env:HOME}"), "is not one that expkit wrote"),
        (set_path("task", value="regression"), "is not one that expkit wrote"),
        (set_path("class_names", value=["a", "b"]), "its weights do not fit"),
        (lambda facts: facts.pop("transforms"), "its manifest lacks transforms"),
    ],
    ids=lambda value: value if isinstance(value, str) else "change",
)
def test_a_strangers_checkpoint_is_refused(
    small_run: expkit.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Change, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(expkit.ConfigError, match=says.replace("[", r"\[")):
        load_trained(changed(small_run, tmp_path, change))
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize("place", ["nothing", "."])
def test_a_place_without_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(expkit.ConfigError, match="give a run folder"):
        load_trained(place)


def test_it_is_told_in_a_line(small_run: expkit.Run) -> None:
    shown = repr(small_run.load(device="cpu"))
    assert shown.startswith("Trained(small_resnet, ")
    assert "on cpu; " in shown
    assert "\n" not in shown
