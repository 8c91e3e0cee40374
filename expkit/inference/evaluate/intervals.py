"""95 % confidence intervals of scores: Wilson's for a share of independent decisions, else the bootstrap over samples.

The bootstrap (Efron 1979) draws as many samples as there are, with replacement, again and again, and takes the middle
95 % of what a score is then. A resample is a weight for each sample, so all of them are a few products of matrices. Of
the area under the ROC curve the first-order (Hajek) projection is resampled, whose terms are those of DeLong et al.
1988 (Biometrics 44): each sample's mean comparison with those of the other side.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

CONFIDENCE = 0.95
_NORMAL_95 = 1.959963984540054  # quantile of the normal distribution: 95 % lie within so many deviations
_SEED = 0
_RESAMPLES = 1000, 200  # and where there are very many samples and classes
_AT_ONCE = 2 * 10**7  # numbers in a matrix

Method = Literal["Wilson", "bootstrap"]


class Interval(NamedTuple):
    """The 95 % confidence interval of a score, and how it was found."""

    low: float
    high: float
    method: Method

    def __str__(self) -> str:
        if self.low == self.high:  # as a rule because all is right: that is no proof that it always is
            return f"no confidence interval ({self.method}): all resamples score the same"
        return f"95 % confidence interval ({self.method}): {self.low:.4f} to {self.high:.4f}"


def wilson(correct: float, count: int) -> Interval:
    """Return the interval of a share of `count` independent decisions (Wilson 1927, equation for the limits)."""
    if not count:
        return Interval(0.0, 1.0, "Wilson")
    share, z2 = correct / count, _NORMAL_95**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _NORMAL_95 / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return Interval(max(middle - half, 0.0), min(middle + half, 1.0), "Wilson")


@dataclass(frozen=True)
class Decisions:
    """What is resampled, of N samples and C classes.

    probabilities: (N, C); there, said: (N, C) bool, the true classes and those that the model decides for; means: name
    -> (N,) whose mean is a score; calibration: (N, B) sums of each sample's gaps between confidence and truth by bin,
    and decisions: of each sample.
    """

    probabilities: Tensor
    there: Tensor
    said: Tensor
    means: Mapping[str, Tensor]
    calibration: Tensor
    decisions: int


def bootstrap(data: Decisions, values: Mapping[str, float]) -> dict[str, Interval]:
    """Return the intervals of those scores in `values` that can be resampled; of one sample there are none.

    Each holds the score itself: the calibration error of a resample is larger than the error of all samples, as a rule.
    """
    count = len(data.there)
    if count < 2:
        return {}
    wins = torch.stack([_wins(*column) for column in zip(data.probabilities.T, data.there.T, strict=True)], dim=1)
    parts = [_resampled(weights, data, wins) for weights in resampling_weights(*data.there.shape)]
    found = {}
    for name in parts[0].keys() & values.keys():
        if interval := interval_of(torch.cat([part[name] for part in parts]).double(), values[name]):
            found[name] = interval
    return found


def interval_of(drawn: Tensor | Sequence[float], value: float) -> Interval | None:
    """Return the middle 95 % of a score in (R,) resamples, and of the score itself; None where it is not known."""
    drawn = torch.as_tensor(drawn, dtype=torch.float64)
    drawn = drawn[~drawn.isnan()]
    if not len(drawn) or math.isnan(value):
        return None
    low, high = torch.quantile(drawn, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Interval(min(low, value), max(high, value), "bootstrap")


def resampling_weights(count: int, classes: int) -> Iterator[Tensor]:
    """Yield (R, N) float32: how often each sample is in each of R resamples."""
    generator = torch.Generator().manual_seed(_SEED)
    left = min(_RESAMPLES[0], max(_RESAMPLES[1], 10**9 // (count * classes)))
    while left:
        rows = min(left, max(_AT_ONCE // count, 1))
        chosen = torch.randint(count, (rows, count), generator=generator)
        yield torch.zeros(rows, count).scatter_add_(1, chosen, torch.ones(1, 1).expand(rows, count))
        left -= rows


def _resampled(weights: Tensor, data: Decisions, wins: Tensor) -> dict[str, Tensor]:
    """Return each score in each resample, (R,)."""
    both = _by_class(weights, lambda place: data.said[:, place] & data.there[:, place])
    said = _by_class(weights, lambda place: data.said[:, place])
    there = _by_class(weights, lambda place: data.there[:, place])
    f1, known = 2 * both / (said + there).clamp(min=1), said + there > 0
    found = {
        "f1_macro": _mean(f1, known),
        "f1_micro": 2 * both.sum(1) / (said + there).sum(1).clamp(min=1),
        "f1_weighted": (f1 * there).sum(1) / there.sum(1),
        "balanced_accuracy": _mean(both / there.clamp(min=1), there > 0),
        "auc": _mean(_areas(weights, data.there, there, wins), (there > 0) & (there < weights.shape[1])),
        "calibration_error": (weights @ data.calibration).abs().sum(1) / (data.decisions * weights.shape[1]),
    }
    return found | {name: weights @ value.float() / weights.shape[1] for name, value in data.means.items()}


def _by_class(weights: Tensor, part: Callable[[slice], Tensor]) -> Tensor:
    """Return (R, C) sums of the weights times an (N, C) matrix, of which `part` gives some columns at a time."""
    step, found = max(_AT_ONCE // weights.shape[1], 1), list[Tensor]()
    while not found or found[-1].shape[1] == step:
        found.append(weights @ part(slice(len(found) * step, (len(found) + 1) * step)).float())
    return torch.cat(found, dim=1)


def _mean(values: Tensor, known: Tensor) -> Tensor:
    """Return the mean over the classes that are known, NaN where none is."""
    return torch.where(known, values, 0.0).sum(1) / known.sum(1)


def _areas(weights: Tensor, is_it: Tensor, there: Tensor, wins: Tensor) -> Tensor:
    """Return each class's area under the ROC curve, (R, C). there: (R, C) samples of each class."""
    whole = (wins * is_it).sum(0) / is_it.sum(0).clamp(min=1)
    of_it = _by_class(weights, lambda place: wins[:, place] * is_it[:, place])
    of_others = _by_class(weights, lambda place: wins[:, place] * ~is_it[:, place])
    others = weights.shape[1] - there
    return (of_it / there.clamp(min=1) + of_others / others.clamp(min=1) - whole).clamp(0, 1)


def _wins(scores: Tensor, is_it: Tensor) -> Tensor:
    """Return for each sample the share of the other side with which it stands in the right order; a tie is a half."""
    found = torch.zeros_like(scores)
    for side, sign in ((is_it, 1.0), (~is_it, -1.0)):
        other = (sign * scores[~side]).sort().values
        own = sign * scores[side]
        if len(other) and len(own):
            below, up_to = (torch.searchsorted(other, own.contiguous(), right=right) for right in (False, True))
            found[side] = (below + up_to).float() / (2 * len(other))
    return found
