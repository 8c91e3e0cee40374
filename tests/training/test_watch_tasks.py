"""Watching tasks without classes: what is drawn of masks, numbers and reconstructions, and what counts as a mistake."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from expkit.core.errors import ConfigError
from expkit.core.plots.masks import class_colours, tinted
from expkit.loggers.figures import Picture
from expkit.training.watch.base import Scene, Where
from expkit.training.watch.dispatcher import build_watchers, judge
from expkit.training.watch.images import Inputs, Predictions
from expkit.training.watch.number_plots import Scatter, scatter
from expkit.training.watch.prediction_views import VIEWS, Seen, image_iou

NUMBERS = ("x", "y")
STATISTICS = {"mean": [10.0, 0.0], "std": [2.0, 1.0]}


def scene(task: str, names: Sequence[str]) -> Scene:
    return Scene(nn.Identity(), (0.5,) * 3, (0.25,) * 3, names, task, "{}.jpg".format, (8, 8), STATISTICS)


def shown(watcher: Predictions | Scatter, task: str, names: Sequence[str], outputs: Tensor, targets: Tensor):  # type: ignore[no-untyped-def]
    watcher.scene = scene(task, names)
    watcher.before_evaluation()
    indices = torch.arange(len(targets))
    watcher.judge(judge(torch.zeros(len(targets), 3, 8, 8), outputs, targets, indices, task))
    return list(watcher.evaluated(Where(0, 5)))


def masks() -> tuple[Tensor, Tensor]:
    """Return (3, 2, 8, 8) logits and masks: right, half right, and of unknown pixels alone."""
    targets = torch.zeros(3, 8, 8, dtype=torch.int64)
    targets[:2, :4] = 1
    targets[2] = 255
    said = targets.clamp(max=1)
    said[1] = 0
    return nn.functional.one_hot(said, 2).movedim(-1, 1).float(), targets


def test_the_iou_of_an_image_is_the_mean_of_the_classes_it_has() -> None:
    logits, targets = masks()
    assert image_iou(logits.argmax(1), targets, 2).tolist() == [1.0, 0.25, 1.0]  # 0 of class 1, half of class 0


@pytest.mark.parametrize(
    ("task", "names"), [("segmentation", ("background", "a")), ("regression", NUMBERS), ("reconstruction", "rgb")]
)
def test_each_task_shows_its_predictions_and_the_worst_ones(task: str, names: Sequence[str]) -> None:
    if task == "segmentation":
        outputs, targets = masks()
    elif task == "regression":
        outputs, targets = torch.tensor([[0.0, 1.0], [1.0, 1.0]]), torch.tensor([[0.0, 1.0], [1.0, -1.0]])
    else:
        targets = torch.rand(2, 3, 8, 8)
        outputs = targets + torch.tensor([0.0, 0.1]).view(2, 1, 1, 1)
    found = shown(Predictions(count=9, worst=1), task, names, outputs, targets)
    assert [one.name for one in found] == ["val/predictions", "val/worst_mistakes"]
    assert all(isinstance(one, Picture) and one.pixels.dtype == np.uint8 for one in found)


def test_what_is_right_is_no_mistake() -> None:
    outputs = torch.tensor([[0.0, 1.0]])
    found = shown(Predictions(count=9, worst=3), "regression", NUMBERS, outputs, outputs)
    assert [one.name for one in found] == ["val/predictions"]


def test_numbers_are_told_in_their_own_units() -> None:
    view = VIEWS["regression"](scene("regression", NUMBERS))
    tile = view.tile(Seen(torch.zeros(3, 8, 8), torch.tensor([0.5, 1.0]), torch.tensor([1.0, 2.0]), 7, 1.0))
    assert (tile.caption, tile.remark, tuple(tile.more)) == ("x 11 / 12", "y 1 / 2", ())
    assert scene("regression", NUMBERS).label(torch.tensor([0.5, 1.0])) == "x 11, y 1"


def test_more_numbers_than_fit_are_counted() -> None:
    names = [f"n{number}" for number in range(6)]
    plain = {"mean": [0.0] * 6, "std": [1.0] * 6}
    of_six = Scene(nn.Identity(), (0.5,) * 3, (0.25,) * 3, names, "regression", str, (8, 8), plain)
    tile = VIEWS["regression"](of_six).tile(Seen(torch.zeros(3, 8, 8), torch.ones(6), torch.ones(6), 0, 0.0))
    assert tile.more[-1] == "and 2 more"


def test_a_mask_is_laid_over_a_grey_image() -> None:
    colours = class_colours(["Background", "a", "b"])
    assert colours[0] is None
    assert None not in class_colours(["road", "sky"])
    assert len(set(class_colours([str(number) for number in range(40)]))) == 40
    image = torch.tensor([30, 60, 90], dtype=torch.uint8).view(3, 1, 1).expand(3, 1, 3)
    drawn = tinted(image, torch.tensor([[0, 1, 255]]), colours)
    assert drawn[:, 0, 0].tolist() == drawn[:, 0, 2].tolist() == [60, 60, 60]
    assert drawn[:, 0, 1].tolist() == [round(60 * 0.4 + part * 0.6) for part in colours[1] or ()]


def test_inputs_of_segmentation_are_shown_beside_their_masks() -> None:
    watcher = Inputs(count=2)
    watcher.scene = scene("segmentation", ("background", "a"))
    _, targets = masks()
    (drawn,) = watcher.inputs(Where(0, 0), torch.zeros(3, 3, 8, 8), targets)
    assert isinstance(drawn, Picture)


def test_a_scatter_survives_outputs_that_are_no_numbers_and_targets_that_are_alike() -> None:
    outputs, targets = torch.tensor([[0.0, 1.0], [math.nan, 1.0], [9.0, 1.0]]), torch.ones(3, 2)
    (drawn,) = shown(Scatter(numbers=8, samples=10), "regression", NUMBERS, outputs, targets)
    assert drawn.name == "val/scatter"
    assert shown(Scatter(8, 10), "regression", NUMBERS, torch.full((2, 2), math.nan), torch.ones(2, 2)) == []


@pytest.mark.parametrize("wrong", ["numbers", "samples"])
def test_a_scatter_of_nothing_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match=rf"watch.scatter.{wrong}: expected an integer from 1 up, got 0"):
        scatter(**{wrong: 0})


@pytest.mark.parametrize(
    ("kind", "there"),
    [("single_label", "CP"), ("regression", "PS"), ("segmentation", "P"), ("reconstruction", "P"), ("own", "")],
)
def test_watchers_leave_themselves_out_for_targets_they_do_not_understand(kind: str, there: str) -> None:
    node = {name: {"name": name} for name in ("calibration", "predictions", "scatter")}
    chosen = build_watchers(node, kind, is_sharded=False, is_first=True).chosen
    assert "".join(type(watcher).__name__[0] for watcher, _ in chosen) == there
