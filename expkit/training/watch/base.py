"""What a watcher is: it looks at one moment of training, and gives what can be shown of it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Generic, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from expkit.config.registry import watchers
from expkit.core.errors import ConfigError
from expkit.loggers.base import Point
from expkit.loggers.figures import Figure

Moment = Literal["start", "inputs", "update", "evaluation"]
Kept = TypeVar("Kept")
Shown = Sequence[Figure | Point]
MOST_LABELS = 4  # named in a caption
OF_CLASSES = ("single_label", "multilabel")  # kinds of targets


@watchers.share
@dataclass(frozen=True)
class WatchOptions:
    """Options of every watcher.

    every: epochs from one look to the next, and the last epoch is looked at in any case; 0: never.
    """

    every: int = 1

    def __post_init__(self) -> None:
        if self.every < 0:
            raise ConfigError(f"watch: every: expected a number of epochs, or 0 for never, got {self.every}")


@dataclass(frozen=True)
class Scene:
    """What there is to look at. name_of: a validation sample's name by its index; input_size: (height, width).

    statistics: what the task knows of the training data, e.g. mean and std of a regression's numbers.
    """

    model: nn.Module
    mean: Sequence[float]
    std: Sequence[float]
    class_names: Sequence[str]
    task: str
    name_of: Callable[[int], str]
    input_size: tuple[int, int]
    statistics: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def label(self, target: Tensor) -> str:
        """Return the class of a target; of a mixed or multilabel one (C,) its classes, with their shares.

        Of more than MOST_LABELS classes those with the largest shares are named, the others counted.
        """
        if self.task == "regression":
            numbers = zip(self.class_names, self.unscaled(target).tolist(), strict=True)
            return ", ".join(f"{name} {value:.3g}" for name, value in numbers)
        if self.task not in OF_CLASSES:
            return ""
        if target.ndim == 0:
            return self.class_names[int(target)]
        present = (target > 0.02).nonzero()[:, 0]
        shares = target[present].float()
        whole = bool((shares > 0.98).all())
        kept = shares.argsort(descending=True, stable=True)[:MOST_LABELS].sort().values
        named = [(self.class_names[place], float(target[place])) for place in present[kept].tolist()]
        label = ", ".join(name if whole else f"{name} {share:.0%}" for name, share in named)
        return label + (f" and {len(present) - MOST_LABELS:,} more" if len(present) > MOST_LABELS else "") or "none"

    def unscaled(self, numbers: Tensor) -> Tensor:
        """Return a regression's standardised numbers, (…, K), in their own units, float32 on the CPU."""
        mean, std = (torch.tensor(self.statistics[name], dtype=torch.float32) for name in ("mean", "std"))
        return numbers.detach().float().cpu() * std + mean

    def pixels(self, image: Tensor) -> Tensor:
        """Return a normalised (3, H, W) image as uint8 pixels on the CPU."""
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (self.mean, self.std))
        return ((image.detach().float().cpu() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)


@dataclass(frozen=True)
class Where:
    """epoch from 0; step: updates of the weights so far."""

    epoch: int
    step: int


@dataclass(frozen=True)
class Judged:
    """A batch of an evaluation. images: (N, 3, H, W) normalised; probabilities: (N, C); losses: (N,).

    Of a task without classes, the probabilities are the outputs, (N, …), and the losses NaN.
    """

    images: Tensor
    targets: Tensor
    probabilities: Tensor
    losses: Tensor
    indices: Tensor


class Watcher:
    """Looks at one moment; override what it needs. It may change neither weights nor random streams.

    An exception in it is named once and ends only the watcher. The values of a Point that it gives after an evaluation
    belong to that epoch; those of other moments to the next point of steps.
    """

    moment: ClassVar[Moment] = "evaluation"
    scores: ClassVar[Mapping[str, bool]] = {}  # what checkpoint.monitor may name of them, and whether higher is better
    kinds: ClassVar[Collection[str] | None] = None  # of targets that it understands; None: all
    needs_weights: ClassVar[bool] = False  # or runs the model by itself: not where ranks have shares of it
    asks_all_ranks: ClassVar[bool] = False  # where they have: then each rank has this watcher
    steps: int | None = None  # for "update": steps from one look to the next, None: so many epochs' as `every` says
    scene: Scene

    def start(self) -> Shown:
        """Look at the model before its first step."""
        return ()

    def inputs(self, where: Where, images: Tensor, targets: Tensor) -> Shown:
        """Look at a training batch as the model gets it."""
        return ()

    def update(self, where: Where) -> Shown:
        """Look at weights and gradients, just before an update."""
        return ()

    def before_evaluation(self) -> None:
        """Forget the last evaluation."""

    def judge(self, judged: Judged) -> None:
        """Take a batch of an evaluation."""

    def evaluated(self, where: Where) -> Shown:
        """Look back at a whole evaluation."""
        return ()


class Spread(Generic[Kept]):
    """Keeps up to `count` samples, the same ones in each evaluation and spread over it, without knowing its length.

    Kept are those whose hashed index is smallest (Knuth's multiplicative hashing); samples often lie ordered by class.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._ranked: list[tuple[int, Kept]] = []

    def add(self, indices: Tensor, make: Callable[[int], Kept]) -> None:
        """Take a batch. indices: (N,) into the dataset; make: gives what to keep of the batch's sample n."""
        ranks = (indices.long() * 2654435761 % 2**32).tolist()
        limit = self._ranked[-1][0] if len(self._ranked) == self.count else 2**32
        chosen = sorted((rank, place) for place, rank in enumerate(ranks) if rank < limit)[: self.count]
        self._ranked += [(rank, make(place)) for rank, place in chosen]
        self._ranked = sorted(self._ranked, key=lambda pair: pair[0])[: self.count]

    @property
    def kept(self) -> list[Kept]:
        return [one for _, one in self._ranked]


def array(values: Tensor) -> NDArray[np.float64]:
    return values.detach().double().cpu().numpy()
