"""What holds for every metric: batches, ranks and a state give what all samples give; it says its direction."""

import copy
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from expkit.tasks.class_counts import BinnedCalibration, BinnedPrecision, ConfusionCounts, DecisionCounts
from expkit.tasks.metric import KeptSamples, Loss, Metric, SampleMean
from expkit.tasks.metrics import METRICS, higher_is_better
from expkit.tasks.number_metrics import R2, MeanAbsoluteError
from expkit.tasks.pixel_metrics import MeanIoU, PixelAccuracy, Psnr

CPU = torch.device("cpu")
CLASSES, SAMPLES = 7, 45
COUNTING = [ConfusionCounts(CLASSES), BinnedPrecision(CLASSES), DecisionCounts(CLASSES), BinnedCalibration(15)]
NUMBERS = [R2(3), MeanAbsoluteError((1.0, 2.0, 3.0))]
DENSE = [MeanIoU(4), PixelAccuracy(), Psnr()]
OF_CLASSES = [metric for metric in METRICS.values() if not isinstance(metric, R2 | MeanAbsoluteError | MeanIoU | Psnr)]
ALL = [*OF_CLASSES, *COUNTING, *NUMBERS, *DENSE]


def samples(metric: Metric) -> tuple[Tensor, Tensor]:
    """Return (outputs, targets) of every sample, for a metric that takes them."""
    draws = torch.Generator().manual_seed(1)
    if metric in NUMBERS or isinstance(metric, Psnr):
        shape = (SAMPLES, 3) if metric in NUMBERS else (SAMPLES, 3, 4, 5)
        targets = torch.rand(shape, generator=draws)
        return targets + 0.1 * torch.rand(shape, generator=draws), targets
    if metric in DENSE:
        return torch.randn(SAMPLES, 4, 4, 5, generator=draws), torch.randint(0, 4, (SAMPLES, 4, 5), generator=draws)
    logits, targets = torch.randn(SAMPLES, CLASSES, generator=draws), torch.arange(SAMPLES) % CLASSES
    if metric.name in ("map", "exact"):
        return logits, (logits + torch.randn(SAMPLES, CLASSES, generator=draws) > 0).float()
    return logits.softmax(1), targets


def updated(metric: Metric, outputs: Tensor, targets: Tensor, bounds: list[int]) -> Metric:
    """Return a copy of a metric that was given the samples between the bounds, a batch each."""
    metric = copy.deepcopy(metric)
    metric.reset(CPU)
    for first, end in pairwise(bounds):
        given = torch.tensor(0.5) if isinstance(metric, Loss) else outputs[first:end]
        metric.update(given, targets[first:end])
    return metric


class OtherRanks:
    """Stands for a process group of which every rank's state is known."""

    def __init__(self, states: list[dict[str, Any]]) -> None:
        self._states, self._sums = states, iter([name for name in states[0] if name in ("_total", "_count", "sums")])

    def sum(self, values: Tensor) -> Tensor:
        name = next(self._sums)  # a metric's sums are merged in the order of its state
        return torch.stack([torch.as_tensor(state[name]).to(values.dtype) for state in self._states]).sum(0)

    def collect(self, value: Any) -> list[Any]:
        return [state["_kept"] for state in self._states]


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: f"{type(metric).__name__}_{metric.name}")
def test_batches_ranks_and_a_state_change_nothing(metric: Metric) -> None:
    outputs, targets = samples(metric)
    whole = updated(metric, outputs, targets, [0, SAMPLES]).compute()
    batches = updated(metric, outputs, targets, [0, 20, 40, SAMPLES])
    resumed = copy.deepcopy(metric)
    resumed.load_state_dict(batches.state_dict())
    assert resumed.compute() == pytest.approx(whole, rel=1e-6)
    order = torch.cat([torch.arange(SAMPLES)[n::2] for n in range(2)])  # each rank has every other sample
    half = (SAMPLES + 1) // 2
    ranks = [updated(metric, outputs[part], targets[part], [0, 10, 20, len(part)]) for part in order.split(half)]
    merged = copy.deepcopy(ranks[0])
    merged.merge(OtherRanks([one.state_dict() for one in ranks]))  # type: ignore[arg-type]
    assert merged.compute() == pytest.approx(whole, rel=1e-6)
    if isinstance(metric, SampleMean | KeptSamples) and not isinstance(metric, Loss):
        assert metric.score(outputs, targets) == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: f"{type(metric).__name__}_{metric.name}")
def test_samples_of_weight_0_do_not_count(metric: Metric) -> None:
    outputs, targets = samples(metric)
    if isinstance(metric, Loss):
        pytest.skip("its outputs are a mean already")
    weights = (torch.arange(SAMPLES) % 3 > 0).float()
    weighed = copy.deepcopy(metric)
    weighed.reset(CPU)
    weighed.update(outputs, targets, weights)
    kept = weights > 0
    expected = updated(metric, outputs[kept], targets[kept], [0, int(kept.sum())]).compute()
    assert weighed.compute() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_says_its_direction(name: str) -> None:
    assert higher_is_better(f"best val/{name}") == METRICS[name].higher_is_better
