"""Images that come twice: exactly, or nearly, within a split and across the splits (a leak)."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from expkit.core.formatting import count_noun
from expkit.doctor.finding import Finding, Level, listed
from expkit.doctor.scan import Collection, Reading

Pairs = NDArray[np.int64]

# Tried on 96 photographs: copies compressed again (quality 30) or resized differ in 0 to 2 bits and by 2 % of their
# contrast, and 97 of 100 are found; those trimmed by 4 pixels a side differ by 7 %, and one of three is found. The
# hash alone would not do: of the 50 million pairs that 10,000 handwritten digits form, 140,000 agree in it, 2 in both.
LARGEST_BITS = 8  # of the 64 of the perceptual hash
LARGEST_SHARE = 0.06  # mean difference of two thumbnails over their contrast (mean absolute deviation)
SURELY_SMALL = 1.0  # levels of 255: as little as compression makes of a flat image

_BLOCK = 1 << 20  # comparisons at a time: what fits into a core's cache


@dataclass(frozen=True)
class Group:
    """Samples that show the same.

    kind: "exact": the same pixels, "near": hardly different ones. samples: numbers in the collection; splits, labels:
    of each sample.
    """

    kind: Literal["exact", "near"]
    samples: tuple[int, ...]
    splits: tuple[str, ...]
    labels: tuple[str, ...]

    @property
    def leaks(self) -> bool:
        return len(set(self.splits)) > 1

    @property
    def contradicts(self) -> bool:
        return len(set(self.labels)) > 1

    def telling(self) -> list[int]:
        """Return the samples with one of each split and label first."""
        first = dict(reversed([*zip(zip(self.splits, self.labels, strict=True), self.samples, strict=True)]))
        return sorted(self.samples, key=lambda sample: sample not in first.values())

    def surplus(self) -> tuple[int, ...]:
        """Return what to leave out: all but one of validation where the labels agree, all where they do not."""
        if self.contradicts:
            return self.samples
        kept = self.samples[self.splits.index("val")] if "val" in self.splits else self.samples[0]
        return tuple(sample for sample in self.samples if sample != kept)


def find_groups(collection: Collection, readings: Mapping[int, Reading], threads: int = 1) -> list[Group]:
    """Return the groups of equal images, the exact ones first."""
    by_digest: dict[str, list[int]] = defaultdict(list)
    for number in sorted(readings):
        by_digest[readings[number].digest].append(number)
    exact = [numbers for numbers in by_digest.values() if len(numbers) > 1]
    first = [numbers[0] for numbers in by_digest.values()]
    pairs = near_pairs([readings[number] for number in first], threads)
    near = [
        sorted(number for one in group for number in by_digest[readings[first[one]].digest])
        for group in connected(pairs)
    ]
    return [_group(collection, "exact", one) for one in exact] + [_group(collection, "near", one) for one in near]


def _group(collection: Collection, kind: Literal["exact", "near"], numbers: list[int]) -> Group:
    splits = tuple(collection.split_of[number] for number in numbers)
    return Group(kind, tuple(numbers), splits, tuple(map(collection.label, numbers)))


def near_pairs(readings: list[Reading], threads: int = 1) -> Pairs:
    """Return (P, 2) positions in `readings` whose perceptual hashes and thumbnails are close.

    Every pair is compared, by XOR and popcount on blocks of numpy: about 10 s a core for 100,000 images, a hundred
    times that for a million.
    """
    hashes = np.array([reading.perceptual for reading in readings], dtype=np.uint64)
    thumbnails = np.array([reading.thumbnail for reading in readings])
    rows = max(_BLOCK // max(len(hashes), 1), 1)
    with ThreadPoolExecutor(threads) as pool:
        found = list(
            pool.map(lambda start: _near_in_block(hashes, thumbnails, start, rows), range(0, len(hashes), rows))
        )
    return np.concatenate([np.empty((0, 2), np.int64), *found])


def _near_in_block(hashes: NDArray[np.uint64], thumbnails: NDArray[np.uint8], start: int, rows: int) -> Pairs:
    """Return the near pairs whose first image is one of `rows` images from `start` on, and whose second comes later."""
    bits = np.bitwise_count(hashes[start : start + rows, None] ^ hashes[None, start:])
    pairs = np.argwhere(bits <= LARGEST_BITS)
    pairs = pairs[pairs[:, 1] > pairs[:, 0]] + start
    alike = [_look_alike(thumbnails[some[:, 0]], thumbnails[some[:, 1]]) for some in _batches(pairs)]
    kept: Pairs = pairs[np.concatenate([np.empty(0, bool), *alike])]
    return kept


def _batches(pairs: Pairs, size: int = 4096) -> Iterator[Pairs]:
    for start in range(0, len(pairs), size):
        yield pairs[start : start + size]


def _look_alike(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """first, second: (P, 16, 16, 3) -> (P,) whether they differ little beside the contrast of the first."""
    one, other = (images.astype(np.float32).reshape(len(images), -1) for images in (first, second))
    contrast = np.abs(one - one.mean(axis=1, keepdims=True)).mean(axis=1)
    difference = np.abs(one - other).mean(axis=1)
    limit = np.maximum(SURELY_SMALL, LARGEST_SHARE * contrast)
    return np.asarray(difference <= limit, dtype=np.bool_)


def connected(pairs: Iterable[Any]) -> list[list[int]]:
    """Return the groups that pairs connect, each sorted."""
    leader: dict[int, int] = {}

    def lead(one: int) -> int:
        while (above := leader.setdefault(one, one)) != one:
            leader[one] = leader[above]
            one = leader[one]
        return one

    for first, second in pairs:
        high, low = sorted((lead(int(first)), lead(int(second))), reverse=True)
        leader[high] = low
    groups: dict[int, list[int]] = defaultdict(list)
    for one in sorted(leader):
        groups[lead(one)].append(one)
    return sorted(groups.values())


def judge(groups: list[Group], collection: Collection, remedy: str) -> list[Finding]:
    """Return what the groups mean. remedy: the override that leaves the surplus images out."""
    found = []
    for kind, copies in (("exact", "exact copies"), ("near", "near copies")):
        some = [group for group in groups if group.kind == kind]
        across = [group for group in some if group.leaks]
        torn = [group for group in some if group.contradicts]
        inside = [group for group in some if not group.leaks and not group.contradicts]
        if across:
            says = f"{copies} in train and in val, so the score of val flatters"
            found.append(_finding("problem", across, says, collection, remedy))
        if torn:
            found.append(_finding("problem", torn, f"{copies} with different labels", collection, remedy))
        if inside:
            found.append(_finding("note", inside, f"{copies} within a split", collection, ""))
    return found


def _finding(level: Level, groups: list[Group], says: str, collection: Collection, remedy: str) -> Finding:
    example = listed([_described(collection, number) for number in groups[0].telling()])
    return Finding(level, "duplicates", f"{says}: {count_noun(len(groups), 'group')}, e.g. {example}", remedy)


def _described(collection: Collection, number: int) -> str:
    return f"{collection.name(number)} ({collection.split_of[number]}, {collection.label(number)})"
