"""Which data a model is evaluated on."""

from collections.abc import Callable
from pathlib import Path

import pytest

import expkit
from expkit.core.errors import ConfigError
from expkit.inference import load_trained
from expkit.inference.evaluate.dataset import dataset_node, for_model, split_of


def test_the_runs_own_data_with_changes(small_run: expkit.Run) -> None:
    own = load_trained(small_run.folder).config["dataset"]
    assert dataset_node(own, []) == own
    assert dataset_node(own, ["dataset.max_bad=0.5", "dataset.num_workers=3"]) == own | {
        "max_bad": 0.5,
        "num_workers": 3,
    }


def test_another_choice_takes_nothing_from_the_run() -> None:
    node = dataset_node({"name": "shapes"}, ["dataset=image_folder", "dataset.root=/x"])
    assert (node["name"], node["root"]) == ("image_folder", "/x")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["model=resnet18"], "only the data can be changed"),
        (["dataset=imagefolder"], "there is no choice 'imagefolder'"),
        (["dataset.rot=x"], "has no option 'rot'"),
        (["dataset.root=[x"], "is no value"),
        (["dataset=image_folder"], "dataset.root: is needed"),
        (["+dataset._target_=os.system"], "has no option '_target_'"),
    ],
    ids=str,
)
def test_a_mistake_is_refused(small_run: expkit.Run, words: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        dataset_node(load_trained(small_run.folder).config["dataset"], words)


def test_classes_are_matched_by_their_words(small_run: expkit.Run, image_files: Callable[..., Path]) -> None:
    trained = load_trained(small_run.folder)
    root = image_files("some", *(f"{name}/{number}.jpg" for name in ("star", "cross") for number in range(4)))
    data = for_model(split_of({"name": "image_folder", "root": str(root), "val_fraction": 0.5}, "val"), trained)
    assert data.class_names == trained.classes
    assert [data.class_names[target] for target in data.targets] == ["cross", "cross", "star", "star"]
    assert [Path(data.sample_name(index)).parts[0] for index in range(4)] == ["cross", "cross", "star", "star"]


def test_a_class_that_the_model_does_not_know(small_run: expkit.Run, image_files: Callable[..., Path]) -> None:
    root = image_files("some", *(f"{name}/{number}.jpg" for name in ("star", "zebra") for number in range(4)))
    data = split_of({"name": "image_folder", "root": str(root)}, "val")
    with pytest.raises(ConfigError, match="does not know zebra; it knows circle, cross"):
        for_model(data, load_trained(small_run.folder))


def test_several_labels_are_matched_too(small_multilabel_run: expkit.Run, small_run: expkit.Run) -> None:
    trained = load_trained(small_multilabel_run.folder)
    data = split_of(trained.config["dataset"], "val")
    trained.classes = ("green", "blue", "red")
    again = for_model(data, trained)
    assert (again.targets[:, [2, 0]] == data.targets).all()
    assert not again.targets[:, 1].any()
    with pytest.raises(ConfigError, match=r"is multilabel, and .* single_label"):
        for_model(data, load_trained(small_run.folder))
