"""Duplicate images: exact or near copies, within a split or across splits (a leak)."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from expkit.core.formatting import count_noun
from expkit.doctor.finding import Finding, Level, listed
from expkit.doctor.scan import THUMBNAIL, Collection, Reading

Pairs = NDArray[np.int64]

# Tried on 96 photographs: copies compressed again (quality 30) or resized differ in 0 to 2 bits and by 2 % of their
# contrast, and 97 of 100 are found; those trimmed by 4 pixels a side differ by 7 %, and one of three is found. The
# hash alone would not do: of the 50 million pairs that 10,000 handwritten digits form, 140,000 agree in it, 2 in both.
LARGEST_BITS = 8  # of the 64 of the perceptual hash
LARGEST_SHARE = 0.06  # mean difference of two thumbnails over their contrast (mean absolute deviation)
SURELY_SMALL = 1.0  # levels of 255: what compression alone changes in a flat image

_BLOCK = 1 << 20  # comparisons at a time: what fits into a core's cache


@dataclass(frozen=True)
class Group:
    """Samples with the same image. kind: "exact" (the same pixels) or "near". samples: numbers in the collection."""

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

    def examples(self) -> list[int]:
        """Return the samples, one of each split and label first."""
        first = dict(reversed([*zip(zip(self.splits, self.labels, strict=True), self.samples, strict=True)]))
        return sorted(self.samples, key=lambda sample: sample not in first.values())

    def surplus(self) -> tuple[int, ...]:
        """Return the samples to exclude: all where the labels differ, else all but one, preferably of validation."""
        if self.contradicts:
            return self.samples
        kept = self.samples[self.splits.index("val")] if "val" in self.splits else self.samples[0]
        return tuple(sample for sample in self.samples if sample != kept)


def find_groups(collection: Collection, readings: Mapping[int, Reading], threads: int = 1) -> list[Group]:
    """Return the groups of duplicates, the exact ones first."""
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

    Compares every pair, by XOR and popcount on blocks: about 10 s on one core for 100,000 images, a hundred times that
    for a million.
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
    """Return the near pairs whose first image is among the `rows` images from `start` on; the second comes later."""
    bits = np.bitwise_count(hashes[start : start + rows, None] ^ hashes[None, start:])
    pairs = np.argwhere(bits <= LARGEST_BITS)
    pairs = pairs[pairs[:, 1] > pairs[:, 0]] + start
    alike = [_look_alike(thumbnails[part]) for part in np.split(pairs, range(4096, len(pairs), 4096))]
    kept: Pairs = pairs[np.concatenate(alike)]
    return kept


def _look_alike(thumbnails: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return (P,) True if the images of a pair, (P, 2, 16, 16, 3), differ little relative to the first's contrast."""
    one, other = np.moveaxis(thumbnails.astype(np.float32).reshape(-1, 2, 3 * THUMBNAIL**2), 1, 0)
    contrast = np.abs(one - one.mean(axis=1, keepdims=True)).mean(axis=1)
    difference = np.abs(one - other).mean(axis=1)
    limit = np.maximum(SURELY_SMALL, LARGEST_SHARE * contrast)
    return np.asarray(difference <= limit, dtype=np.bool_)


def connected(pairs: Iterable[Any]) -> list[list[int]]:
    """Return the connected components of a graph of pairs (union-find), each sorted."""
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
    """Return the findings on the groups. remedy: the override that excludes the surplus images."""
    found = []
    for kind, copies in (("exact", "exact copies"), ("near", "near copies")):
        some = [group for group in groups if group.kind == kind]
        cases: list[tuple[Level, list[Group], str, str]] = [
            ("problem", [group for group in some if group.leaks],
             f"{copies} in train and in val, so the val score is too high", remedy),
            ("problem", [group for group in some if group.contradicts], f"{copies} with different labels", remedy),
            ("note", [group for group in some if not group.leaks and not group.contradicts],
             f"{copies} within a split", ""),
        ]  # fmt: skip
        for level, chosen, problem, fix in cases:
            if chosen:
                examples = listed([collection.describe(number) for number in chosen[0].examples()])
                sentence = f"{problem}: {count_noun(len(chosen), 'group')}, e.g. {examples}"
                found.append(Finding(level, "duplicates", sentence, fix))
    return found
