"""Scores against sums by hand and against torchmetrics."""

import math

import pytest
import torch
from torchmetrics.functional.classification import multilabel_average_precision

from expkit.tasks.class_metrics import Accuracy, confusion_counts
from expkit.tasks.metrics import validation_metrics
from expkit.training.metrics import BadBatch, EvalMetrics, TrainMetrics

CPU = torch.device("cpu")


def test_evaluation_counts_each_sample_once() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(23, 7), torch.randint(7, (23,))
    metrics = EvalMetrics(validation_metrics("single_label", 7), CPU)
    for start in range(0, 23, 5):  # the last batch is smaller
        part = slice(start, start + 5)
        metrics.update(torch.nn.functional.cross_entropy(logits[part], targets[part]), logits[part], targets[part])
    scores = metrics.compute()
    assert scores["loss"] == pytest.approx(float(torch.nn.functional.cross_entropy(logits, targets)))
    assert scores["accuracy"] == pytest.approx(float((logits.argmax(1) == targets).float().mean()))
    assert scores["top5"] == pytest.approx(float((logits.topk(5).indices == targets[:, None]).any(1).float().mean()))
    assert int(confusion_counts(logits, targets).sum()) == 23
    assert list(scores) == ["loss", "accuracy", "top5"]


def test_multilabel_is_mean_average_precision() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(20, 3), (torch.rand(20, 3) < 0.4).float()
    metrics = EvalMetrics(validation_metrics("multilabel", 3), CPU)
    for part in (slice(0, 12), slice(12, 20)):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits[part], targets[part])
        metrics.update(loss, logits[part], targets[part])
    expected = multilabel_average_precision(logits.sigmoid(), targets.long(), 3)
    assert metrics.compute()["map"] == pytest.approx(float(expected))
    assert list(metrics.compute()) == ["loss", "accuracy", "map"]


def test_training_means_weigh_samples_over_intervals() -> None:
    metrics = TrainMetrics([Accuracy()])
    right = torch.tensor([[5.0, 0.0]])
    metrics.update(0, torch.tensor(1.0), right.repeat(3, 1), torch.tensor([0, 0, 1]))
    assert metrics.interval() == pytest.approx({"loss": 1.0, "accuracy": 2 / 3})
    metrics.update(1, torch.tensor(3.0), right, torch.tensor([0]))
    assert metrics.interval() == pytest.approx({"loss": 3.0, "accuracy": 1.0})
    assert metrics.epoch() == pytest.approx({"loss": 1.5, "accuracy": 0.75})


def test_it_does_not_show_when_the_sums_were_read() -> None:
    losses = [0.1, 0.7, 0.3, 1 / 3, 2.7]
    often, seldom = TrainMetrics([Accuracy()]), TrainMetrics([Accuracy()])
    for number, loss in enumerate(losses):
        for metrics in (often, seldom):
            metrics.update(number, torch.tensor(loss), torch.eye(3), torch.tensor([0, 1, 0]))
        resumed = TrainMetrics([Accuracy()])
        resumed.load_state_dict(often.state_dict())
        often = resumed
    assert often.epoch() == seldom.epoch()
    assert often.interval() == seldom.interval()


def test_a_loss_that_is_no_number_is_named_and_left_out_of_the_means() -> None:
    metrics = TrainMetrics([Accuracy()])
    right, targets = torch.eye(3), torch.tensor([0, 1, 2])
    metrics.update(4, torch.tensor(1.0), right, targets)
    metrics.update(5, torch.tensor(math.nan), right, targets)
    metrics.norm(6, torch.tensor(math.inf))
    (loss, norm) = metrics.read()
    assert (loss.batch, loss.what, norm) == (5, "loss", BadBatch(6, "gradient norm", math.inf))
    assert metrics.interval() == {"loss": 1.0, "accuracy": 1.0}
    assert metrics.read() == []


def test_the_state_keeps_the_keys_of_old_checkpoints() -> None:
    metrics = TrainMetrics([Accuracy()])
    metrics.update(0, torch.tensor(1.5), torch.eye(2), torch.tensor([0, 0]))
    sums = {"loss": 3.0, "correct": 1.0, "count": 2}
    assert metrics.state_dict() == {"interval": sums, "epoch": sums}
