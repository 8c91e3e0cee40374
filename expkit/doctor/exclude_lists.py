"""What a run should leave out, as files that it reads: the unreadable images, and those that come twice."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from expkit.core.escaping import as_override
from expkit.core.files import write_json
from expkit.core.formatting import relative
from expkit.data.bad_files import LIST_NAME, read_bad_files, write_bad_files
from expkit.doctor.duplicates import Group
from expkit.doctor.scan import Collection, Scan

SURPLUS_NAME = "exclude.json"


@dataclass(frozen=True)
class Fixes:
    """Overrides: `bad` leaves out what cannot be read; `surplus` also the images that leak or contradict each other.

    One that would leave no image of a split or a class is "": no run could begin with it.
    """

    bad: str = ""
    surplus: str = ""

    @property
    def best(self) -> str:
        """Return the one that leaves out most; the longer list holds the shorter one."""
        return self.surplus or self.bad


def write_lists(folder: Path, found: Scan, groups: Sequence[Group], earlier: str | None) -> Fixes:
    """Write the lists that are not empty. earlier: a list that the config excludes already, which stays part of them.

    Raises ConfigError when the earlier list cannot be read.
    """
    known = read_bad_files(earlier) if earlier else {}
    bad = {found.collection.name(number): reason for number, reason in found.bad.items()}
    doubled = [(group, one) for group in groups if group.leaks or group.contradicts for one in group.surplus()]
    surplus = {found.collection.name(number): _why(group, found.collection, number) for group, number in doubled}
    without_bad = _write(folder / LIST_NAME, known | bad) if bad else ""
    without_surplus = _write(folder / SURPLUS_NAME, known | surplus | bad) if surplus else ""
    left_out = {*found.bad, *(number for _, number in doubled)}
    return Fixes(
        without_bad if _leaves_enough(found.collection, found.bad) else "",
        without_surplus if _leaves_enough(found.collection, left_out) else "",
    )


def _leaves_enough(collection: Collection, left_out: Container[int]) -> bool:
    """Return True if each split and each class of the training images keeps an image without some."""
    kept = np.array([number not in left_out for number in range(len(collection))], dtype=bool)
    parts = np.array(collection.split_of)
    if not all((kept & (parts == split)).any() for split in collection.parts):
        return False
    train = collection.parts["train"].targets
    if train.ndim > 1:
        return True
    targets = np.concatenate([part.targets for part in collection.parts.values()])
    learned = targets[kept] if collection.held_out else targets[kept & (parts == "train")]
    return set(train.tolist()) <= set(learned.tolist())


def _write(path: Path, reasons: dict[str, str]) -> str:
    write_bad_files(path, reasons)
    return as_override("dataset.exclude", relative(path))


def _why(group: Group, collection: Collection, number: int) -> str:
    other = next(one for one in group.samples if one != number)
    like = "the same as" if group.kind == "exact" else "nearly the same as"
    against = f", which is labelled {collection.label(other)}" if group.contradicts else ""
    return f"{like} {collection.name(other)}{against}"


def write_duplicates(folder: Path, groups: Sequence[Group], collection: Collection) -> None:
    """Write every group of equal images, the exact ones first."""
    content = [
        {
            "kind": group.kind,
            "leak": group.leaks,
            "labels_differ": group.contradicts,
            "images": [_sample(collection, number) for number in group.samples],
        }
        for group in groups
    ]
    write_json(folder / "duplicates.json", content)


def _sample(collection: Collection, number: int) -> dict[str, str]:
    return {
        "name": collection.name(number),
        "split": collection.split_of[number],
        "label": collection.label(number),
        "location": collection.location(number),
    }
