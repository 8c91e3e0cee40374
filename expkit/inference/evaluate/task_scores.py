"""The scores of a task's own metrics, with bootstrap intervals over samples, and the worst samples as tiles."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from expkit.core.errors import ConfigError
from expkit.core.plots.image_grid import Tile
from expkit.data.dataset import ImageDataset
from expkit.inference import Scored, Trained
from expkit.inference.evaluate.intervals import Interval, interval_of, resampling_weights
from expkit.inference.evaluate.plots import WORST
from expkit.inference.evaluate.scores import Scores
from expkit.inference.masks import overlay
from expkit.tasks.metric import Counts, KeptSamples, Metric, SampleMean, named_scores
from expkit.tasks.pixel_metrics import UNKNOWN, MeanIoU

_MOST_KEPT = 10**7  # outputs of a metric of all samples, which is computed anew for each resample


@dataclass(frozen=True)
class PixelScores:
    """One class of masks: how many pixels are of it, and its intersection over union."""

    name: str
    count: int
    iou: float

    @property
    def main(self) -> float:
        return self.iou


class Resampled:
    """A metric, and what each sample adds to it, to be weighted anew."""

    def __init__(self, metric: Metric, device: torch.device) -> None:
        self.metric = metric
        self._parts: list[Tensor] = []  # (n, …) what each sample adds
        self._kept: list[tuple[Tensor, Tensor]] = []
        metric.reset(device)

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Add a batch."""
        self.metric.update(outputs, targets)
        if isinstance(self.metric, SampleMean):
            self._parts.append(self.metric.each(outputs, targets).double().cpu())
        elif isinstance(self.metric, Counts):
            each = (slice(place, place + 1) for place in range(len(outputs)))
            self._parts.append(torch.stack([self.metric.counted(outputs[one], targets[one]) for one in each]).cpu())
        elif isinstance(self.metric, KeptSamples):
            self._kept.append((outputs.float().cpu(), targets.cpu()))

    def intervals(self, values: Mapping[str, float]) -> dict[str, Interval]:
        """Return the interval of each of the metric's scores, by bootstrap; of a metric of another kind there is none.

        values: the scores over all samples, which each interval holds.
        """
        drawn = list(self._drawn())
        found = {name: interval_of([one[name] for one in drawn], value) for name, value in values.items() if drawn}
        return {name: interval for name, interval in found.items() if interval}

    def _drawn(self) -> Iterable[dict[str, float]]:
        """Yield the scores of each resample."""
        metric = self.metric
        if isinstance(metric, SampleMean):
            each = torch.cat(self._parts)
            means = (weights.double() @ each / len(each) for weights in _weights(len(each)))
            yield from ({metric.name: float(mean)} for part in means for mean in part)
        elif isinstance(metric, Counts):
            each = torch.cat(self._parts)
            before = metric.sums
            for weights in _weights(len(each)):
                for row in weights.double() @ each.double().flatten(1):
                    metric.sums = row.view(before.shape).to(before.dtype)
                    yield named_scores(metric)
            metric.sums = before
        elif isinstance(metric, KeptSamples):
            outputs, targets = (torch.cat(parts) for parts in zip(*self._kept, strict=True))
            for weights in _weights(len(outputs)) if outputs.numel() <= _MOST_KEPT else ():
                for chosen in (torch.arange(len(outputs)).repeat_interleave(row.long()) for row in weights):
                    yield {metric.name: metric.score(outputs[chosen], targets[chosen])}


def _weights(count: int) -> Iterable[Tensor]:
    return resampling_weights(count, 1) if count > 1 else ()


@dataclass
class TaskScorer:
    """Adds up batches of a dataset into the scores of the task's metrics."""

    trained: Trained
    data: ImageDataset
    _metrics: list[Resampled] = field(init=False)
    _worst: list[tuple[float, int, Tile]] = field(default_factory=list)

    def __post_init__(self) -> None:
        device = self.trained.device.torch_device
        if not self.trained.task.metrics():
            raise ConfigError(f"task.name: {self.trained.task.kind} has no metrics to score by; give it metrics()")
        self._metrics = [Resampled(metric, device) for metric in self.trained.task.metrics()]

    @torch.inference_mode()
    def add(self, scored: Scored) -> None:
        """Add a batch."""
        if not len(scored.indices):
            return
        device, task = self.trained.device, self.trained.task
        targets = task.targets(device.images(scored.images), device.targets(scored.targets))
        for one in self._metrics:
            one.add(scored.outputs, targets)
        errors = sample_errors(self.trained, scored.outputs, targets)
        for place in errors.argsort(descending=True, stable=True)[:WORST].tolist():
            index, error = int(scored.indices[place]), float(errors[place])
            if len(self._worst) < WORST or error > self._worst[-1][0]:
                tile = self._tile(index, scored.images[place], scored.outputs[place], targets[place])
                self._worst = sorted([*self._worst, (error, index, tile)], key=lambda one: (-one[0], one[1]))[:WORST]

    def scores(self) -> Scores:
        """Return the scores of all that was added. Waits for the device."""
        overall: dict[str, float] = {}
        intervals: dict[str, Interval] = {}
        by_class: list[PixelScores] = []
        for one in self._metrics:
            values = named_scores(one.metric)
            overall |= values
            intervals |= one.intervals(values)
            if isinstance(one.metric, MeanIoU) and self.trained.task.form == "masks":
                by_class = _by_class(one.metric, self.trained.classes)
        return Scores(overall, by_class, intervals)

    def worst(self) -> list[Tile]:
        """Return the samples whose outputs were farthest from the truth, the worst first."""
        return [tile for _, _, tile in self._worst]

    def _tile(self, index: int, seen: Tensor, outputs: Tensor, targets: Tensor) -> Tile:
        """Return numbers as a caption; a mask or an image as a picture, the truth on the left."""
        trained, name = self.trained, self.data.sample_name(index)
        if trained.task.form == "masks":
            truth, said = (one.cpu() for one in (targets.byte(), outputs.argmax(0).byte()))
            pictures = [overlay(seen, mask, trained.classes) for mask in (truth.masked_fill(truth == UNKNOWN, 0), said)]
            wrong = float(((truth != said) & (truth != UNKNOWN)).sum() / (truth != UNKNOWN).sum().clamp(min=1))
            return Tile(torch.cat(pictures, dim=2), f"{wrong:.0%} of its pixels wrong", name)
        answer = trained.answer(outputs, (seen.shape[-2], seen.shape[-1]))
        if trained.task.form == "images":
            error = float((outputs - targets).abs().mean())
            return Tile(torch.cat([seen, answer], dim=2), f"mean absolute error {error:.3f}", name)
        return Tile(seen.clone(), self._worst_number(answer, outputs, targets), name)

    def _worst_number(self, answer: Mapping[str, float], outputs: Tensor, targets: Tensor) -> str:
        """Return which of the numbers is farthest from the truth, by its standard deviation: `area 0.1 as 0.24`."""
        if outputs.shape != targets.shape:  # only a plugin's task knows
            return ", ".join(f"{value:.3g}" for value in answer.values())
        truth = list(self.trained.answer(targets, (0, 0)).values())
        place = int((outputs - targets).abs().flatten().argmax())
        key, value = list(answer.items())[place]
        return f"{key} {truth[place]:.3g} as {value:.3g}"


def sample_errors(trained: Trained, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return (N,) how far each sample's outputs are from the truth: wrong pixels, or the mean squared error."""
    if trained.task.form == "masks":
        known = targets != UNKNOWN
        wrong = ((outputs.argmax(1) != targets) & known).flatten(1).sum(1)
        return (wrong / known.flatten(1).sum(1).clamp(min=1)).cpu()
    if outputs.shape != targets.shape:  # only a plugin's task knows
        return torch.zeros(len(outputs))
    return (outputs - targets).square().flatten(1).mean(1).cpu()


def _by_class(metric: MeanIoU, names: Sequence[str]) -> list[PixelScores]:
    common, truth = metric.sums.diagonal(), metric.sums.sum(1)
    union = truth + metric.sums.sum(0) - common
    ious: list[float] = (common / union).tolist()  # 0 / 0 is NaN: the class is nowhere
    return [PixelScores(*row) for row in zip(names, truth.tolist(), ious, strict=True)]
