"""One model on one dataset: its scores, and its worst mistakes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from expkit.core.errors import ConfigError
from expkit.core.plots.image_grid import Tile
from expkit.core.progress import bar
from expkit.data.batches import BadSample
from expkit.data.dataset import ImageDataset
from expkit.data.decode import BadImage
from expkit.inference import Trained, Views, score
from expkit.inference.evaluate.plots import WORST
from expkit.inference.evaluate.scores import Scores, multilabel, single_label
from expkit.inference.evaluate.task_scores import TaskScorer
from expkit.tasks.chosen_metrics import OutputFacts, build_metrics
from expkit.tasks.metric import named_scores
from expkit.tasks.task import Form


@dataclass(frozen=True)
class Speed:
    """How images go through the model. workers: None for one per core."""

    batch_size: int = 64
    workers: int | None = None
    views: Views = "none"


@dataclass(frozen=True)
class Evaluation:
    """indices: (N,) of the samples of data that can be read; form: of the task; mistakes: the worst one first."""

    data: ImageDataset
    indices: NDArray[np.int64]
    scores: Scores
    bad: list[BadSample]
    form: Form = "classes"
    mistakes: list[Tile] = field(default_factory=list)

    def worst(self, count: int = WORST) -> list[Tile]:
        """Return the worst mistakes, the worst first, with the images."""
        return self.mistakes[:count]


@dataclass(frozen=True)
class ClassEvaluation(Evaluation):
    """probabilities: (N, C) of the samples."""

    probabilities: Tensor = field(default_factory=lambda: torch.empty(0))

    @property
    def targets(self) -> Tensor:
        return torch.from_numpy(self.data.targets[self.indices])

    def worst(self, count: int = WORST) -> list[Tile]:
        """Return the mistakes in which the truth was thought least probable, the worst first, with the images."""
        targets, names = self.targets, self.data.class_names
        if targets.ndim == 1:
            wrong = self.probabilities.argmax(1) != targets
            truth = self.probabilities.gather(1, targets[:, None])[:, 0]
        else:
            of_truth = torch.where(targets > 0.5, self.probabilities, 1 - self.probabilities)
            truth, least = of_truth.min(1)
            wrong = truth < 0.5
        tiles = []
        for place in truth.masked_fill(~wrong, 2.0).argsort(stable=True).tolist()[: min(count, int(wrong.sum()))]:
            row = self.probabilities[place]
            if targets.ndim == 1:
                taken = int(row.argmax())
                caption = f"{names[int(targets[place])]} as {names[taken]} {row[taken]:.2f}"
            else:
                label = int(least[place])
                kind = "missed" if targets[place, label] > 0.5 else "wrongly seen"
                caption = f"{names[label]} {kind} ({row[label]:.2f})"
            tiles.append(self._tile(int(self.indices[place]), caption))
        return tiles

    def _tile(self, index: int, caption: str) -> Tile:
        try:
            image = self.data.image(index)
        except BadImage:  # it was there a minute ago
            image = torch.zeros(3, 8, 8, dtype=torch.uint8)
        return Tile(image, caption, self.data.sample_name(index))


def evaluate(trained: Trained, data: ImageDataset, speed: Speed | None = None, top_k: int = 5) -> Evaluation:
    """Score a model on every sample of a dataset that can be read. Raises ConfigError, WorkerFailed."""
    speed = speed or Speed()
    scorer = None if trained.task.form == "classes" else TaskScorer(trained, data)
    parts: list[Tensor] = []
    indices: list[NDArray[np.int64]] = []
    bad: list[BadSample] = []
    with bar(f"evaluating {trained.path.stem}", len(data)) as advance:
        for scored in score(trained, data, speed.batch_size, speed.workers, speed.views):
            if scorer:
                scorer.add(scored)
            else:
                parts.append(scored.outputs)
            indices.append(scored.indices)
            bad += scored.failed
            advance(len(scored.indices) + len(scored.failed))
    places = np.concatenate(indices)
    if not len(places):
        raise ConfigError(
            f"dataset: none of its images ({len(data):,}) can be read, e.g. {bad[0].location}: {bad[0].reason}"
        )
    if scorer:
        return Evaluation(data, places, scorer.scores(), bad, trained.task.form, scorer.worst())
    probabilities, targets = torch.cat(parts), torch.from_numpy(data.targets[places])
    if trained.task.kind == "multilabel":
        scores = multilabel(probabilities, targets, trained.classes)
    else:
        scores = single_label(probabilities, targets, trained.classes, top_k)
    scores = replace(scores, overall=scores.overall | _chosen_scores(trained, probabilities, targets) | scores.overall)
    return ClassEvaluation(data, places, scores, bad, probabilities=probabilities)


def _chosen_scores(trained: Trained, probabilities: Tensor, targets: Tensor) -> dict[str, float]:
    """Return the scores that the run's config chose; those that cannot be computed here are left out, with a note."""
    nodes, found = trained.config.get("metric"), dict[str, float]()
    for name, node in nodes.items() if isinstance(nodes, Mapping) else ():
        try:
            (metric,) = build_metrics({name: node}, OutputFacts(trained.task.kind, trained.classes))
        except ConfigError as error:
            trained.notes.append(f"{error.faults[0]}; the evaluation leaves it out")
            continue
        metric.update(probabilities, targets.long())
        found |= named_scores(metric)
    return found
