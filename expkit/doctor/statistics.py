"""Statistics of a data set: classes, sizes, pixel modes, mean and standard deviation."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expkit.core.formatting import count_noun
from expkit.data.deep import SIXTEEN_BITS, Range, range_of
from expkit.doctor.finding import Finding, Level, listed
from expkit.doctor.scan import Reading, Scan
from expkit.runs.components import class_counts

SLIGHT_IMBALANCE, SEVERE_IMBALANCE = 1.5, 10.0  # largest class over the smallest
LONGEST = 3.0  # longer side over the shorter one
FEW_LEVELS = 64  # of 256
MUCH_LARGER = 4.0  # shorter side over the model's input size
USUAL_MODES = ("RGB", "")
_MODE_NAMES = {
    "1": "black and white", "L": "grey", "LA": "grey with transparency", "I;16": "16-bit grey", "P": "palette",
    "RGBA": "with transparency",
}  # fmt: skip


@dataclass(frozen=True)
class Statistics:
    """counts: split -> (C,) samples of each class; sizes: (N, 2) width and height; modes: mode -> images.

    mean, std: of the training images per channel, scaled to 0..1; images of any size have the same weight.
    """

    class_names: tuple[str, ...]
    counts: dict[str, NDArray[np.int64]]
    sizes: NDArray[np.int64]
    modes: dict[str, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def as_override(self) -> str:
        """Return mean and std as an override of transforms.normalize."""
        mean, std = (", ".join(f"{value:.4f}" for value in values) for values in (self.mean, self.std))
        return f"transforms.normalize={{mean: [{mean}], std: [{std}]}}"

    def as_json(self) -> dict[str, Any]:
        """Return the statistics as JSON values."""
        by_class = {
            split: dict(zip(self.class_names, counts.tolist(), strict=True)) for split, counts in self.counts.items()
        }
        sizes = Counter(f"{width}×{height}" for width, height in self.sizes.tolist())
        moments = {"mean": list(self.mean), "std": list(self.std)}
        return {"classes": by_class, "sizes": dict(sizes.most_common(20)), "modes": self.modes, **moments}


def collect(scan: Scan) -> Statistics:
    """Return the statistics of the readable images, of which at least one is for training."""
    readings = scan.readings.values()
    collection = scan.collection
    train = [reading for number, reading in scan.readings.items() if collection.split_of[number] == "train"]
    counts = {split: class_counts(scan.readable(split)) for split in collection.parts}
    sizes = np.array([(reading.width, reading.height) for reading in readings], dtype=np.int64)
    modes = dict(Counter(reading.mode for reading in readings).most_common())
    return Statistics(collection.class_names, counts, sizes, modes, *moments(train))


def moments(readings: Iterable[Reading]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel; each image has the same weight."""
    means, squares = zip(*((reading.mean, reading.square) for reading in readings), strict=True)
    mean = np.mean(means, axis=0)
    std = np.sqrt(np.maximum(np.mean(squares, axis=0) - mean**2, 0))
    return tuple(mean.tolist()), tuple(std.tolist())


def judge_classes(
    counts: NDArray[np.int64], class_names: tuple[str, ...], is_balanced: bool, several: bool = False
) -> list[Finding]:
    """Return the findings on class counts.

    is_balanced: whether the config's sampler or loss weights the classes; several: whether an image may have several
    labels.
    """
    if not counts.min():
        absent = listed([name for name, count in zip(class_names, counts, strict=True) if not count])
        return [Finding("problem", "classes", f"no training image of class {absent} can be read", "add some")]
    ratio = counts.max() / counts.min()
    if ratio < SLIGHT_IMBALANCE:
        return []
    most, least = int(counts.argmax()), int(counts.argmin())
    shown = (
        f"{count_noun(int(counts[most]), 'image')} of {class_names[most]}, {counts[least]:,} of {class_names[least]}"
    )
    if is_balanced:
        return [Finding("note", "classes", f"{shown}; the sampler or the loss balances it")]
    level: Level = "problem" if ratio >= SEVERE_IMBALANCE else "note"
    remedy = "loss=bce loss.pos_weight=balanced" if several else "sampler=class_balanced"
    return [Finding(level, "classes", f"{shown}: {ratio:.1f} to 1", remedy)]


def judge_images(
    readings: Mapping[int, Reading], image_size: int, native: bool, fits: Callable[[int], bool] = lambda size: True
) -> list[Finding]:
    """Return the notes on the images' sizes and modes.

    image_size: of the model's input, in pixels; native: whether it is the first image's; fits: whether the model
    accepts a size.
    """
    images = readings.values()
    short = [min(reading.width, reading.height) for reading in images]
    long = [max(reading.width, reading.height) for reading in images]
    middle = sorted(short)[len(short) // 2]
    beside_image_size = [] if native else [
        (sum(one < image_size for one in short), f"smaller than the model's input of {image_size} pixels",
         f"transforms.image_size={middle}" if middle < image_size and fits(middle) else ""),
        (sum(one > MUCH_LARGER * image_size for one in short),
         f"more than {MUCH_LARGER:g} times as large as the model's input of {image_size} pixels: reading them takes"
         " most of the time", f"resize the files to about {2 * image_size} pixels"),
    ]  # fmt: skip
    cases = [
        *beside_image_size,
        (sum(b > LONGEST * a for a, b in zip(short, long, strict=True)),
         f"more than {LONGEST:g} times as long as wide: a centre crop loses most of them", ""),
        (sum(reading.turned for reading in images), "marked as rotated by EXIF, which a run ignores",
         "rotate the pixels themselves, e.g. with Pillow's ImageOps.exif_transpose"),
        (sum(reading.one_colour for reading in images), "of a single colour", ""),
    ]  # fmt: skip
    found = [Finding("note", "images", f"{_are(count)} {says}", remedy) for count, says, remedy in cases if count]
    return found + _modes(images) + _native(images, native)


def judge_depth(readings: Mapping[int, Reading], span: Range | None, is_auto: bool) -> list[Finding]:
    """Return the findings on images with more than 8 bits. span: dataset.deep_range, or what "auto" means here."""
    spans = [reading.span for reading in readings.values() if reading.span]
    if not spans:
        return []
    low, high = span or SIXTEEN_BITS
    least, most = min(one.low for one in spans), max(one.high for one in spans)
    by = " by dataset.deep_range=auto" if is_auto else ""
    says = f"{_are(len(spans))} of more than 8 bits, with values from {least:g} to {most:g}"
    says += f"; {low:g} to {high:g} become 0 to 255{by}"
    found = [Finding("note", "images", says)]
    if outside := sum(one.low < low or one.high > high for one in spans):
        verb = "has values" if outside == 1 else "have values"
        says = f"{count_noun(outside, 'image')} with more than 8 bits {verb} outside {low:g} to {high:g}"
        wider = _range_as_override(min(low, least), max(high, most))
        found.append(Finding("note", "images", f"{says}, which are clipped", wider))
    elif levels := _grey_levels(least, most, low, high):
        says = f"images of more than 8 bits become about {levels} grey levels: they fill little of {low:g} to {high:g}"
        # "auto" may mean this very range, or one that is no better.
        helps = not is_auto and not _grey_levels(least, most, *range_of(spans))
        fix = "dataset.deep_range=auto" if helps else _range_as_override(least, most)
        found.append(Finding("problem", "images", says, fix))
    return found


def _range_as_override(low: float, high: float) -> str:
    """Return a range as an override, with all digits: a rounded one would clip values."""
    return f"dataset.deep_range=[{low:.12g},{high:.12g}]"


def _grey_levels(least: float, most: float, low: float, high: float) -> int:
    """Return how many of the 256 levels are used, 0 if these are enough."""
    levels = math.ceil((most - least) / (high - low) * 256)
    return levels if levels <= FEW_LEVELS else 0


def _are(count: int) -> str:
    return f"{count_noun(count, 'image')} {'is' if count == 1 else 'are'}"


def _modes(images: Iterable[Reading]) -> list[Finding]:
    odd = Counter(reading.mode for reading in images if reading.mode not in USUAL_MODES)
    shown = [f"{count:,} {mode_name(mode)}" for mode, count in odd.most_common()]
    says = f"not all files store RGB pixels: {listed(shown, 6)}; they are read as RGB, without transparency"
    return [Finding("note", "images", says)] if odd else []


def mode_name(mode: str) -> str:
    """Return a readable name of a Pillow mode."""
    return _MODE_NAMES.get(mode, mode)


def _native(images: Iterable[Reading], native: bool) -> list[Finding]:
    sizes = {(reading.width, reading.height) for reading in images}
    if not native or len(sizes) == 1:
        return []
    says = f"the images have {len(sizes):,} sizes, and transforms.image_size=native takes that of the first"
    return [Finding("note", "images", says, "transforms=imagenet transforms.image_size=224")]
