"""Detailed scores: against torchmetrics, and against counting by hand."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import (
    multiclass_average_precision,
    multiclass_calibration_error,
    multiclass_confusion_matrix,
    multiclass_precision,
    multiclass_recall,
    multilabel_average_precision,
)

from expkit.loggers.figures import Curves, Matrix, Table
from expkit.training.watch.base import Judged, Scene, Watcher, Where
from expkit.training.watch.dispatcher import judge
from expkit.training.watch.score_plots import Calibration, Confusion, PerClass, PrecisionRecall

CLASSES, SAMPLES = 4, 600
WHERE = Where(0, 10)


def scene(task: str) -> Scene:
    names = [f"class {number}" for number in range(CLASSES)]
    return Scene(torch.nn.Identity(), (0.5,) * 3, (0.5,) * 3, names, task, str, (8, 8))


def batches(task: str) -> tuple[torch.Tensor, torch.Tensor, list[Judged]]:
    """Return (probabilities, targets, the same as batches of a hundred)."""
    draws = torch.Generator().manual_seed(3)
    logits = torch.randn(SAMPLES, CLASSES, generator=draws)
    targets = torch.randint(CLASSES, (SAMPLES,), generator=draws)
    if task == "multilabel":
        targets = (torch.rand(SAMPLES, CLASSES, generator=draws) < 0.3).float()
        logits += 1.5 * targets
    else:
        logits[torch.arange(SAMPLES), targets] += 1.5
    images, indices = torch.zeros(SAMPLES, 3, 8, 8), torch.arange(SAMPLES)
    parts = zip(*(one.split(100) for one in (images, logits, targets, indices)), strict=True)
    judged = [judge(*part, task) for part in parts]
    return torch.cat([one.probabilities for one in judged]), targets, judged


def seen(watcher: Watcher, task: str, judged: list[Judged]) -> Watcher:
    watcher.scene = scene(task)
    watcher.before_evaluation()
    for one in judged:
        watcher.judge(one)
    return watcher


def test_confusion_is_that_of_torchmetrics() -> None:
    probabilities, targets, judged = batches("single_label")
    watcher = seen(Confusion(), "single_label", judged)
    matrix = next(one for one in watcher.evaluated(WHERE) if isinstance(one, Matrix))
    expected = multiclass_confusion_matrix(probabilities, targets, CLASSES)
    assert [list(row[1:]) for row in matrix.rows] == expected.tolist()
    assert list(matrix.columns) == ["true", *watcher.scene.class_names]


def test_each_class_has_the_scores_of_torchmetrics() -> None:
    probabilities, targets, judged = batches("single_label")
    (table,) = seen(PerClass(), "single_label", judged).evaluated(WHERE)
    assert isinstance(table, Table)
    found = np.array([row[1:] for row in table.rows])
    for column, score in ((0, multiclass_precision), (1, multiclass_recall), (3, multiclass_average_precision)):
        expected = score(probabilities, targets, CLASSES, average="none")
        assert found[:, column] == pytest.approx(expected.numpy(), abs=2e-3)
    assert found[:, 4].tolist() == torch.bincount(targets).tolist()


def test_multilabel_average_precision_is_that_of_torchmetrics() -> None:
    probabilities, targets, judged = batches("multilabel")
    (table,) = seen(PerClass(), "multilabel", judged).evaluated(WHERE)
    assert isinstance(table, Table)
    expected = multilabel_average_precision(probabilities, targets.long(), CLASSES, average="none")
    assert [row[4] for row in table.rows] == pytest.approx(expected.tolist(), abs=2e-3)
    assert seen(Confusion(), "multilabel", judged).evaluated(WHERE) == ()


def test_calibration_error_is_that_of_torchmetrics() -> None:
    probabilities, targets, judged = batches("single_label")
    watcher = seen(Calibration(15), "single_label", judged)
    assert isinstance(watcher, Calibration)
    expected = multiclass_calibration_error(probabilities, targets, CLASSES, n_bins=15, norm="l1")
    assert watcher.binned.compute() == pytest.approx(float(expected), abs=1e-5)


def test_precision_recall_shows_the_worst_classes() -> None:
    _, _, judged = batches("single_label")
    (curves,) = seen(PrecisionRecall(2), "single_label", judged).evaluated(WHERE)
    assert isinstance(curves, Curves)
    assert len(curves.lines) == 2
    for recall, precision in curves.lines.values():
        assert recall == sorted(recall)
        assert (recall[0], recall[-1]) == (0.0, 1.0)
        assert all(0 <= value <= 1 for value in precision)
