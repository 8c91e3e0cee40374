"""Classes and targets of any data set: made unique and converted where nothing is lost, else refused."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import expkit
from expkit.config.registry import datasets
from expkit.core.errors import ConfigError
from expkit.data.dataset import ImageDataset, Splits
from expkit.data.datasets import load
from expkit.data.labels import unique_names
from tests.inference.runs import coco_files


class Drawn(ImageDataset):
    """What a plugin's author may write."""

    def __init__(self, targets: Any, class_names: Any, task: Any = "single_label", image: Any = None) -> None:
        self.targets, self.class_names, self.task = targets, class_names, task
        self._image = torch.zeros(3, 16, 16, dtype=torch.uint8) if image is None else image

    def image(self, index: int) -> Any:
        return self._image

    def sample_name(self, index: int) -> str:
        return f"drawn/{index}"


@pytest.fixture
def given(request: pytest.FixtureRequest) -> Any:
    """Register a data set that returns what it is given, and load it."""

    def loaded(splits: Any) -> Splits:
        datasets._entries.pop("given", None)
        datasets.add("given", lambda: splits, "test")
        request.addfinalizer(lambda: datasets._entries.pop("given", None))
        return load({"name": "given"})

    return loaded


MANY = np.tile(np.eye(3, dtype=np.float32), (4, 1))


def changed(value: float) -> NDArray[np.float32]:
    wrong = MANY.copy()
    wrong[5, 1] = value
    return wrong


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (Drawn(MANY, "abc", "multi_label"), r"class_names of 'given' \(train\) must be a list of texts"),
        (Drawn(MANY, ["a", "b", "c"], "multi_label"), r"is 'multi_label'; did you mean 'multilabel'"),
        (Drawn(MANY, ["a", "b", "c"], None), r"is None; there is single_label, multilabel"),
        (Drawn(MANY, ["a", "b", "c"]), r'got shape \(12, 3\); for several .* task = "multilabel"'),
        (Drawn(MANY[:, :1], ["a"], "multilabel"), r"a single multilabel class cannot be scored"),
        (Drawn(MANY[:, :2], ["a", "b", "c"], "multilabel"), r"\(N, 3\), one column a class, got shape \(12, 2\)"),
        (Drawn(changed(0.5), ["a", "b", "c"], "multilabel"), r"0 or 1 .* wrong in 1 image, e.g. 0.5 for 'drawn/5"),
        (Drawn(changed(-1), ["a", "b", "c"], "multilabel"), r"e.g. -1.0 for 'drawn/5'"),
        (Drawn(changed(np.nan), ["a", "b", "c"], "multilabel"), r"e.g. nan for 'drawn/5'"),
        (Drawn(0 * MANY, ["a", "b", "c"], "multilabel"), r"are all 0: no image has a label"),
        (Drawn(MANY.astype(str), ["a", "b", "c"], "multilabel"), r"must be numbers, got <U"),
        (Drawn([0, 1, 2, 3], ["a", "b", "c"]), r"a class index from 0 to 2; wrong in 1 image, e.g. 3 for 'drawn/3'"),
        (Drawn([0, -1, 2, -1], ["a", "b", "c"]), r"wrong in 2 of 4 images, e.g. -1 for 'drawn/1'"),
        (Drawn([0, 1, np.nan], ["a", "b"]), r"e.g. nan for 'drawn/2'"),
        (Drawn([0, 1, 0.5], ["a", "b"]), r"e.g. 0.5 for 'drawn/2'"),
        (Drawn(["a", "b"], ["a", "b"]), r"must be whole numbers, got <U1"),
        (Drawn([[0], [1]], ["a", "b"]), r"got shape \(2, 1\)"),
        (Drawn([[0], [1, 2]], ["a", "b"]), r"targets of 'given' \(train\) cannot be read"),
        (Drawn([], ["a", "b"]), r"train of 'given' holds no image"),
        (Drawn([0, 1], [0, 1]), r"class_names of 'given' \(train\) must be texts, got 0 \(int\)"),
        (Drawn([0, 1], []), r"class_names of 'given' \(train\) must be a list of texts, got \[\]"),
        ((1, 2), r"'given' returned tuple; a dataset factory returns expkit.data.dataset.Splits"),
        (Splits([0, 1]), r"class_names of 'given' \(train\) must be a list"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_what_cannot_be_trained_on_is_refused(given: Any, data: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        given(Splits(data) if isinstance(data, ImageDataset) else data)


def test_a_split_that_does_not_fit_the_other_is_refused(given: Any) -> None:
    train = Drawn([0, 1, 0, 1], ["a", "b"])
    for val, sentence in (
        (Drawn([0, 1], ["b", "a"]), "differ between train and val: a and b"),
        (Drawn([0, 1], ["a", "b", "c"]), "differ between train and val: 2 and 3 classes"),
        (Drawn([0, 2], ["a", "b"]), r"targets of 'given' \(val\) must be a class index from 0 to 1"),
        (Drawn(np.eye(2), ["a", "b"], "multilabel"), "task is single_label in train and multilabel in val"),
        (Drawn([], ["a", "b"]), "val of 'given' holds no image; return None"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            given(Splits(train, val))


@pytest.mark.parametrize(
    "targets",
    [
        [0, 1, 0, 1], (0, 1, 0, 1), np.array([0, 1, 0, 1], np.uint8), np.array([0.0, 1, 0, 1]),
        torch.tensor([0, 1, 0, 1]), np.array([False, True, False, True]),
    ],
)  # fmt: skip
def test_what_loses_nothing_is_converted(given: Any, targets: Any) -> None:
    splits = given(Splits(Drawn(targets, ["a", "b"])))
    assert splits.train.targets.dtype == np.int64
    several = given(Splits(Drawn(torch.eye(2, dtype=torch.int32).repeat(4, 1), ["a", "b"], "multilabel")))
    assert several.train.targets.dtype == np.float32


def test_a_class_that_computes_its_targets_is_seen_through(given: Any) -> None:
    class Computed(Drawn):
        targets = property(lambda self: [0, 1, 0, 1])  # type: ignore[assignment]

        def __init__(self) -> None:
            self.class_names, self._image = ("a", "a"), torch.zeros(3, 4, 4, dtype=torch.uint8)

    splits = given(Splits(Computed()))
    assert splits.train.class_names == ("a (class 0)", "a (class 1)")
    assert sorted([*splits.train.targets.tolist(), *splits.val.targets.tolist()]) == [0, 0, 1, 1]


def test_names_are_made_unique() -> None:
    assert unique_names(["crane", "cat", "crane"]) == ("crane (class 0)", "cat", "crane (class 2)")
    assert unique_names(["a", "a (class 0)", "a"]) == ("a (class 0) (class 0)", "a (class 0)", "a (class 2)")
    again = unique_names(["x"] * 5)
    assert len(set(again)) == 5
    assert unique_names(again) == again


def test_the_run_says_how(given: Any) -> None:
    splits = given(Splits(Drawn([0, 1, 2] * 3, ["crane", "cat", "crane"]), Drawn([0, 1, 2], ["crane", "cat", "crane"])))
    said = "2 classes share a name with another; renamed by their class number: 'crane (class 0)', 'crane (class 2)'"
    assert said in splits.notes
    assert splits.val.class_names == splits.train.class_names


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (torch.zeros(3, 16, 16), r"\(3, 16, 16\) torch.float32"),
        (torch.zeros(16, 16, 3, dtype=torch.uint8), r"\(16, 16, 3\) torch.uint8"),
        (np.zeros((3, 16, 16), np.uint8), "ndarray"),
    ],
)
def test_an_image_of_another_kind_is_refused(
    given: Any, small_config: Callable[..., Any], image: Any, kind: str
) -> None:
    from expkit.runs.build import build

    splits = given(Splits(Drawn([0, 1] * 8, ["a", "b"], image=image)))
    with pytest.raises(ConfigError, match=rf"image\(\) must return \(3, height, width\) torch.uint8, it gives {kind}"):
        build(small_config(), splits=splits)


def test_a_checkpoint_with_equal_names_resumes_and_predicts_each_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Version 0.1 wrote the names as they came."""
    data = coco_files(tmp_path / "squares", 12)
    file = tmp_path / "squares" / "instances.json"
    file.write_text(file.read_text().replace('"red"', '"crane"').replace('"green"', '"crane"'))
    words = [*data, "loss=bce", "dataset.num_workers=0", "epochs=1", "batch_size=6", "logger=none", "model.width=4"]
    words += [f"output_dir={tmp_path}/outputs", "transforms.image_size=16"]
    with monkeypatch.context() as before:
        before.setattr(sys.modules["expkit.data.datasets.load"], "check_labels", lambda splits, name: splits)
        old = expkit.train(words)
    manifest = json.loads(next((old.folder / "checkpoints").glob("epoch_*.json")).read_text())
    assert manifest["class_names"] == ["crane", "crane"]
    found = old.load("last").predict([tmp_path / "squares" / "3.png"])[0]
    assert sorted(found) == ["crane (class 0)", "crane (class 1)"]
    resumed = expkit.train([*words, "epochs=2", f"checkpoint.resume={old.folder}"])
    assert resumed.status == "finished"
    log = (resumed.folder / "log.txt").read_text()
    assert "2 classes share a name with another" in log
    assert sorted(resumed.load("last").classes) == ["crane (class 0)", "crane (class 1)"]
