"""Samplers: the order of an epoch, a pure function of a generator seeded with (seed, epoch)."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import RandomSampler, Sampler, SequentialSampler, SubsetRandomSampler, WeightedRandomSampler

from expkit.config.registry import samplers
from expkit.core.errors import ConfigError, nearest
from expkit.core.formatting import count_noun
from expkit.data.class_names import by_known

Indices = NDArray[np.int64]


class Order:
    """The order of the samples in an epoch.

    length: samples in an epoch; draw: generator -> (length,) int64 indices; notes: messages for the user.
    """

    def __init__(self, length: int, draw: Callable[[torch.Generator], Indices], notes: Sequence[str] = ()) -> None:
        if length < 1:
            raise ConfigError("sampler: an epoch would have no samples; raise num_samples, or list some indices")
        self.length = length
        self.draw = draw
        self.notes = notes

    def __len__(self) -> int:
        return self.length


@samplers.register("sequential")
def sequential(targets: NDArray[Any]) -> Order:
    """Every sample once, in the order of the data."""
    return Order(len(targets), lambda generator: np.arange(len(targets)))


@samplers.register("shuffle")
def shuffle(targets: NDArray[Any]) -> Order:
    """Every sample once, in a new random order each epoch."""
    return Order(len(targets), lambda generator: torch.randperm(len(targets), generator=generator).numpy())


@samplers.register("weighted")
def weighted(
    targets: NDArray[Any],
    class_names: Sequence[str],
    class_weights: dict[str, float] | list[float],
    num_samples: int | None = None,
    replacement: bool = True,
) -> Order:
    """Draw samples by the weight of their class, e.g. {dog: 2, cat: 1} draws a dog twice as often as a cat.

    num_samples: length of an epoch, null: the size of the data; replacement: whether a sample may be drawn twice.
    """
    weights = _per_sample(_weights_by_class(class_weights, class_names), targets)
    length = len(targets) if num_samples is None else num_samples
    return _weighted_order(weights, length, replacement)


@samplers.register("class_balanced")
def class_balanced(targets: NDArray[Any], class_names: Sequence[str], num_samples: int | None = None) -> Order:
    """Draw every class equally often, with replacement.

    num_samples: length of an epoch, null: the size of the data.
    """
    if targets.ndim == 2:
        raise ConfigError("sampler.name: class_balanced needs one class per sample; use sampler=shuffle for multilabel")
    counts = np.bincount(targets, minlength=len(class_names))
    weights = _per_sample(1 / np.maximum(counts, 1), targets)
    return _weighted_order(weights, len(targets) if num_samples is None else num_samples, replacement=True)


@samplers.register("repeated")
def repeated(targets: NDArray[Any], repetitions: int = 3, round_to: int = 1) -> Order:
    """Each sample several times in a row, augmented differently (Hoffer et al. 2020, arXiv 1901.09335).

    The length of an epoch stays, rounded down to a multiple of round_to, so that it has fewer distinct images; ranks
    see the same image in the same step, as with torchvision's RASampler (round_to 256).
    """
    if repetitions < 1 or round_to < 1:
        raise ConfigError("sampler.repetitions: expected an integer from 1 up, and round_to too")
    length = len(targets) // round_to * round_to or len(targets)

    def draw(generator: torch.Generator) -> Indices:
        return torch.randperm(len(targets), generator=generator).numpy().repeat(repetitions)[:length]

    return Order(length, draw)


@samplers.register("subset")
def subset(
    targets: NDArray[Any], indices: list[int] | None = None, fraction: float | None = None, shuffle: bool = True
) -> Order:
    """Only some samples: the listed ones, or an evenly spaced fraction of the data.

    indices: those samples, counted from 0; fraction: or an evenly spaced share; shuffle: a new random order each epoch.
    """
    chosen = _listed(indices, len(targets)) if indices is not None else _evenly(fraction, len(targets))
    if not shuffle:
        return Order(len(chosen), lambda generator: chosen)
    return Order(len(chosen), lambda generator: chosen[torch.randperm(len(chosen), generator=generator).numpy()])


def _listed(indices: list[int], length: int) -> Indices:
    outside = [index for index in indices if not 0 <= index < length]
    if outside:
        raise ConfigError(f"sampler.indices: {outside[0]} is outside the {length} training samples (0 to {length - 1})")
    return np.array(indices, dtype=np.int64)


def _evenly(fraction: float | None, length: int) -> Indices:
    if fraction is None or not 0 < fraction <= 1:
        raise ConfigError(f"sampler.fraction: takes a number above 0 and up to 1 (or give indices), got {fraction}")
    return np.linspace(0, length - 1, max(1, round(fraction * length))).round().astype(np.int64)


def _weights_by_class(given: dict[str, float] | list[float], class_names: Sequence[str]) -> NDArray[np.float64]:
    if isinstance(given, list):
        if len(given) != len(class_names):
            problem = f"{count_noun(len(given), 'weight')} for {count_noun(len(class_names), 'class')}"
            problem += f"; give one for each, in this order: {', '.join(class_names)}"
            raise ConfigError(f"sampler.class_weights: {problem}")
        given = dict(zip(class_names, given, strict=True))
    given = {by_known([name], class_names)[name]: weight for name, weight in given.items()}
    for name in given:
        if name not in class_names:
            hint = nearest(name, class_names) or f"; there is {', '.join(class_names[:8])}" + ", …" * (
                len(class_names) > 8
            )
            raise ConfigError(f"sampler.class_weights: no class is called '{name}'{hint}")
    weights = np.array([given.get(name, 1.0) for name in class_names])
    if (weights < 0).any() or weights.sum() == 0:
        raise ConfigError(f"sampler.class_weights: takes numbers from 0 up, not all 0, got {given}")
    return weights


def _per_sample(class_weights: NDArray[np.float64], targets: NDArray[Any]) -> NDArray[np.float64]:
    if targets.ndim == 1:
        return np.asarray(class_weights[targets], dtype=np.float64)
    return np.asarray(
        (targets * class_weights).max(axis=1), dtype=np.float64
    )  # multilabel: the largest weight of the classes present


def _weighted_order(weights: NDArray[np.float64], length: int, replacement: bool) -> Order:
    if not replacement and length > np.count_nonzero(weights):
        problem = (
            f"{length} is more than the {count_noun(int(np.count_nonzero(weights)), 'sample')} of a weight above 0"
        )
        raise ConfigError(f"sampler.num_samples: {problem}; lower it or set sampler.replacement=true")
    notes = []
    if not replacement and length == len(weights):
        notes.append(
            "sampler: without replacement and with num_samples equal to the set's size every sample comes exactly once,"
            " so the weights do nothing; set sampler.replacement=true or lower sampler.num_samples"
        )
    drawn = torch.from_numpy(weights)
    return Order(
        length, lambda generator: torch.multinomial(drawn, length, replacement, generator=generator).numpy(), notes
    )


def _from_torch(sampler_class: type[Sampler[int]], takes_data: bool, takes_generator: bool) -> Callable[..., Order]:
    """Return a factory that creates the sampler for each epoch with that epoch's generator."""

    def build(targets: NDArray[Any], **options: Any) -> Order:
        if takes_data:
            options["data_source"] = targets

        def sampler(generator: torch.Generator) -> Sampler[int]:
            return sampler_class(**options, **({"generator": generator} if takes_generator else {}))

        length = len(sampler(torch.Generator()))  # type: ignore[arg-type]
        return Order(length, lambda generator: np.fromiter(sampler(generator), np.int64))

    build.__doc__ = sampler_class.__doc__
    return build


for _class, _takes_data, _takes_generator in (
    (SequentialSampler, True, False),
    (RandomSampler, True, True),
    (SubsetRandomSampler, False, True),
    (WeightedRandomSampler, False, True),
):
    samplers.add(_class.__name__, _from_torch(_class, _takes_data, _takes_generator), "torch", _class)
