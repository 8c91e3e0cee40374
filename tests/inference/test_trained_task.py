"""The task of a checkpoint: each kind is loaded, a plugin's by its file, and a stranger's facts are not believed."""

from pathlib import Path
from typing import Any

import pytest
import torch

import expkit
from expkit.inference import load_trained
from tests.inference.test_trained_model import Change, changed, set_path

Runs = dict[str, expkit.Run]

PLUGIN = '''
from expkit.config.registry import tasks
from expkit.tasks.regression import Regression


class Shifted(Regression):
    def __init__(self, shift):
        self.shift = shift

    def answers(self, outputs):
        return super().answers(outputs) + self.shift


@tasks.register("shifted")
def shifted(shift: float = 1.0):
    """Numbers with something added."""
    return Shifted(shift)
'''


@pytest.mark.parametrize(
    ("task", "form", "told"),
    [
        ("regression", "numbers", "3 numbers: centre_x, centre_y, area"),
        ("segmentation", "masks", "6 classes: background, circle"),
        ("reconstruction", "images", "3 channels: red, green, blue"),
    ],
)
def test_each_task_is_loaded(task_runs: Runs, task: str, form: str, told: str) -> None:
    trained = task_runs[task].load(device="cpu")
    assert (trained.task.kind, trained.task.form) == (task, form)
    assert told in repr(trained)
    seen = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    assert tuple(trained.outputs(seen).shape) == (2, *trained.task.output_shape(32, 32))


def test_masks_of_cropped_images_are_as_the_model_sees_them(task_runs: Runs, tmp_path: Path) -> None:
    crop = [{"name": "Resize", "size": [40, 40]}, {"name": "CenterCrop", "size": 24}]
    place = changed(task_runs["segmentation"], tmp_path, set_path("transforms", "eval", value=crop))
    assert load_trained(place, device="cpu").predict(torch.zeros(3, 50, 60))[0].shape == (24, 24)
    whole = load_trained(task_runs["segmentation"].folder, device="cpu")
    assert whole.predict(torch.zeros(3, 50, 60))[0].shape == (50, 60)


def test_a_task_of_a_plugin_comes_with_its_file(task_runs: Runs, tmp_path: Path) -> None:
    (tmp_path / "shifted_task.py").write_text(PLUGIN)
    named = set_path("config", "task", value={"name": "shifted", "shift": 5.0})
    place = changed(task_runs["regression"], tmp_path, named)
    with pytest.raises(expkit.ConfigError, match="there is no task 'shifted'; --plugin names the file that adds it"):
        load_trained(place, device="cpu")
    own = expkit.load(place, device="cpu", plugins=[str(tmp_path / "shifted_task.py")])
    plain = task_runs["regression"].load(device="cpu")
    image = torch.rand(3, 32, 32)
    added = {name: value + 5 for name, value in plain.predict(image)[0].items()}
    assert own.predict(image)[0] == pytest.approx(added, abs=1e-5)


CALL = {"_target_": "os.system", "_args_": ["touch hacked"]}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (set_path("task", value="telepathy"), "learns regression, and the checkpoint's targets are telepathy"),
        (set_path("task", value=["regression"]), "is not one that expkit wrote"),
        (lambda facts: facts.pop("statistics"), "is not one that expkit wrote: the task regression misses something"),
        (set_path("statistics", value={"mean": [0, 0, 0]}), "is not one that expkit wrote: the task regression misses"),
        (set_path("statistics", "std", value=[1, 2]), "is not one that expkit wrote"),
        (set_path("statistics", "std", value=["1", "2", "3"]), "is not one that expkit wrote: statistics"),
        (set_path("statistics", value="none"), "is not one that expkit wrote: statistics"),
        (set_path("config", "task", value="os.system"), "is not one that expkit wrote"),
        (set_path("config", "task", value=CALL), "there is no task 'None'"),
        (set_path("config", "task", "_target_", value="os.system"), "has no option '_target_'"),
        (set_path("config", "task", "name", value="segmentation"), "the task segmentation learns segmentation"),
        (set_path("class_names", value=["a", "b"]), "is not one that expkit wrote"),
    ],
    ids=lambda value: value if isinstance(value, str) else "change",
)
def test_a_strangers_facts_are_refused(
    task_runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Change, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(expkit.ConfigError, match=says):
        load_trained(changed(task_runs["regression"], tmp_path, change))
    assert not (tmp_path / "hacked").exists()


def test_an_old_checkpoint_without_a_task_is_one_of_classes(small_run: expkit.Run, tmp_path: Path) -> None:
    def forget(facts: dict[str, Any]) -> None:
        del facts["config"]["task"]

    assert load_trained(changed(small_run, tmp_path, forget)).task.kind == "single_label"
