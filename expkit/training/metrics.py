"""The metrics of a run: sums that stay on the device and are read once per interval."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from expkit.devices import Ranks
from expkit.tasks.metric import Loss, Metric, SampleMean, named_scores

Scores = dict[str, float]
_LOSS = Loss()


class BadBatch(NamedTuple):
    """A batch whose loss, or an update whose gradient norm, is no finite number; batch: its number in the epoch."""

    batch: int
    what: str  # "loss" or "gradient norm"
    value: float


class TrainMetrics:
    """Loss and accuracy of training: per interval, and over the epoch, weighted by samples.

    Values stay on the device until `read` fetches those of many batches at once. They are added one by one in the order
    of the batches, so that it does not show in the sums when they were read. What is not finite is left out.

    Among ranks each adds its part's share of a batch's loss, and `read` adds up the parts: all ranks get one answer, so
    that all must ask.
    """

    _most = 1000  # batches kept on the device before they are read all the same

    def __init__(self, metrics: Sequence[SampleMean], ranks: Ranks | None = None) -> None:
        """metrics: of what a model gives; the loss comes first, by itself."""
        self._ranks, self._of_outputs, self._metrics = ranks, tuple(metrics), (_LOSS, *metrics)
        self._values: list[list[Tensor]] = [[] for _ in self._metrics]  # of each metric, each batch's scalar
        self._norms: list[tuple[int, Tensor]] = []
        self._batches: list[tuple[int, int]] = []  # number, samples
        self._bad: list[BadBatch] = []
        self._interval = _Sums(self._metrics)
        self.start_epoch()

    def start_epoch(self) -> None:
        self._epoch = _Sums(self._metrics)

    def update(self, batch: int, loss: Tensor, outputs: Tensor, targets: Tensor) -> None:
        """Add batch number `batch` of the epoch; loss: its mean, detached. Nothing is read back here."""
        self._values[0].append(loss)
        for values, metric in zip(self._values[1:], self._of_outputs, strict=True):
            values.append(metric.value(outputs, targets))
        self._batches.append((batch, len(targets)))
        if len(self._batches) >= self._most:
            self._fetch()

    def norm(self, batch: int, norm: Tensor) -> None:
        """Add the gradients' norm of the update that ended with batch number `batch`."""
        self._norms.append((batch, norm))

    def read(self) -> list[BadBatch]:
        """Fetch what is still on the device; returns the batches since the last `read` that were not finite.

        The first one is to blame: those after it may have been computed with weights that are no numbers any more.
        """
        self._fetch()
        bad, self._bad = sorted(self._bad, key=lambda one: one.batch), []
        return bad

    def _fetch(self) -> None:
        """Wait for the device: the only place that does."""
        if not self._batches:
            return
        if self._ranks:
            self._add_parts(self._ranks)
        kinds = [*self._values, [norm for _, norm in self._norms]]
        read = torch.cat([torch.stack(kind).float() for kind in kinds if kind]).tolist()
        size = len(self._batches)
        end = size * len(self._metrics)
        columns = [read[start : start + size] for start in range(0, end, size)]
        for (batch, count), *values in zip(self._batches, *columns, strict=True):
            if not count:
                continue
            if math.isfinite(values[0]):  # the loss
                self._interval.add(values, count)
                self._epoch.add(values, count)
            else:
                self._bad.append(BadBatch(batch, "loss", values[0]))
        for (batch, _), norm in zip(self._norms, read[end:], strict=True):
            if not math.isfinite(norm):
                self._bad.append(BadBatch(batch, "gradient norm", norm))
        self._forget()

    def _forget(self) -> None:
        self._values, self._norms, self._batches = [[] for _ in self._metrics], [], []

    def _add_parts(self, ranks: Ranks) -> None:
        """Make of this rank's values those of the whole batches."""
        counts = torch.tensor([count for _, count in self._batches], dtype=torch.float64)
        own = [torch.stack(kind).cpu().double() for kind in self._values]
        whole = ranks.sum(torch.stack([*own, counts], dim=1))
        *values, counts = whole.unbind(1)
        self._values = [list(column) for column in values]
        self._batches = [(batch, int(count)) for (batch, _), count in zip(self._batches, counts, strict=True)]

    def interval(self) -> Scores:
        """Return the means since the last call."""
        self._fetch()
        means, self._interval = self._interval.means(), _Sums(self._metrics)
        return means

    @property
    def count(self) -> int:
        """Samples since the last `interval`."""
        return self._interval.count + sum(count for _, count in self._batches)

    def epoch(self) -> Scores:
        """Return the means over the epoch so far."""
        self._fetch()
        return self._epoch.means()

    @property
    def epoch_count(self) -> int:
        """Samples of the epoch so far."""
        return self._epoch.count + sum(count for _, count in self._batches)

    def state_dict(self) -> dict[str, Any]:
        self._fetch()
        return {"interval": self._interval.state_dict(), "epoch": self._epoch.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._forget()
        self._bad = []
        self._interval, self._epoch = (_Sums(self._metrics, state[name]) for name in ("interval", "epoch"))


class _Sums:
    """Sums of the training metrics over samples, in float64. state: those of a checkpoint, by the metrics' keys."""

    def __init__(self, metrics: Sequence[SampleMean], state: Mapping[str, Any] | None = None) -> None:
        self._metrics, state = metrics, state or {}
        self._totals = [float(state.get(metric.key, 0.0)) for metric in metrics]
        self.count: int = state.get("count", 0)

    def add(self, values: Sequence[float], count: int) -> None:
        """Add a batch's values."""
        for place, (metric, value) in enumerate(zip(self._metrics, values, strict=True)):
            self._totals[place] += value * count if metric.is_mean else value
        self.count += count

    def means(self) -> Scores:
        pairs = zip(self._metrics, self._totals, strict=True)
        return {metric.name: total / self.count if self.count else math.nan for metric, total in pairs}

    def state_dict(self) -> dict[str, Any]:
        keys = [metric.key for metric in self._metrics]
        return dict(zip(keys, self._totals, strict=True)) | {"count": self.count}


class EvalMetrics:
    """The mean loss, and exact scores over all samples of an evaluation.

    metrics: of what a model gives; the first is the main one. chosen: those of the config, which see what `answers`
    makes of it. of_task, of_config: the scores' names, and whether higher is better.
    """

    def __init__(
        self, metrics: Sequence[Metric], device: torch.device, ranks: Ranks | None = None,
        chosen: Sequence[Metric] = (), answers: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
    ) -> None:  # fmt: skip
        self._ranks, self._device, self._loss = ranks, device, Loss()
        self._metrics = sorted(metrics, key=lambda metric: metric.name)
        self._chosen, self._answers = chosen, answers or (lambda outputs, targets: (outputs, targets))
        self.of_task = _directions([*metrics[:1], self._loss, *metrics[1:]])
        self.of_config = _directions(chosen)
        self.reset()

    @property
    def _all(self) -> list[Metric]:
        return [self._loss, *self._metrics, *self._chosen]

    def reset(self) -> None:
        for metric in self._all:
            metric.reset(self._device)

    def update(self, loss: Tensor, outputs: Tensor, targets: Tensor) -> None:
        """Add a batch; loss: its mean; outputs: (N, C) logits."""
        self._loss.update(loss, targets)
        for metric in self._metrics:
            metric.update(outputs, targets)
        if self._chosen:
            outputs, targets = self._answers(outputs, targets)
        for metric in self._chosen:
            metric.update(outputs, targets)

    def compute(self) -> Scores:
        """Return the scores; the only place that waits for the device, and for other ranks."""
        if self._ranks:
            for metric in self._all:
                metric.merge(self._ranks)
        return {name: value for metric in self._all for name, value in named_scores(metric).items()}


def _directions(metrics: Sequence[Metric]) -> dict[str, bool | None]:
    return {name: higher for metric in metrics for name, higher in metric.directions.items()}
