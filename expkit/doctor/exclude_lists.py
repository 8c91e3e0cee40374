"""Exclude lists for runs: the unreadable images, and the duplicates."""

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
    """Overrides: `bad` excludes what cannot be read; `surplus` also duplicates that leak or have different labels.

    "" if nothing of a split or a class would remain: no run could start.
    """

    bad: str = ""
    surplus: str = ""

    @property
    def best(self) -> str:
        """Return the one that excludes most."""
        return self.surplus or self.bad


def write_lists(folder: Path, found: Scan, groups: Sequence[Group], earlier: str | None) -> Fixes:
    """Write the lists that are not empty. earlier: the config's own list, which is included. Raises ConfigError."""
    known = read_bad_files(earlier) if earlier else {}
    bad = {found.collection.name(number): reason for number, reason in found.bad.items()}
    doubled = [(group, one) for group in groups if group.leaks or group.contradicts for one in group.surplus()]
    surplus = {found.collection.name(number): _why(group, found.collection, number) for group, number in doubled}
    fixes = []
    for name, reasons, excluded in (
        (LIST_NAME, bad, found.bad.keys()),
        (SURPLUS_NAME, surplus | bad if surplus else {}, {*found.bad, *(number for _, number in doubled)}),
    ):
        if reasons:
            write_bad_files(folder / name, known | reasons)
        is_enough = reasons and _leaves_enough(found.collection, excluded)
        fixes.append(as_override("dataset.exclude", relative(folder / name)) if is_enough else "")
    return Fixes(*fixes)


def _leaves_enough(collection: Collection, excluded: Container[int]) -> bool:
    """Return True if each split and each training class keeps an image."""
    kept = np.array([number not in excluded for number in range(len(collection))], dtype=bool)
    parts = np.array(collection.split_of)
    if not all((kept & (parts == split)).any() for split in collection.parts):
        return False
    train = collection.parts["train"].targets
    if train.ndim > 1:
        return True
    targets = np.concatenate([part.targets for part in collection.parts.values()])
    learned = targets[kept] if collection.held_out else targets[kept & (parts == "train")]
    return set(train.tolist()) <= set(learned.tolist())


def _why(group: Group, collection: Collection, number: int) -> str:
    other = next(one for one in group.samples if one != number)
    like = "the same as" if group.kind == "exact" else "nearly the same as"
    against = f", which is labelled {collection.label(other)}" if group.contradicts else ""
    return f"{like} {collection.name(other)}{against}"


def write_duplicates(folder: Path, groups: Sequence[Group], collection: Collection) -> None:
    """Write every group of duplicates, the exact ones first."""
    content = [
        {
            "kind": group.kind,
            "leak": group.leaks,
            "labels_differ": group.contradicts,
            "images": [
                {"name": collection.name(number), "split": collection.split_of[number],
                 "label": collection.label(number), "location": collection.location(number)}
                for number in group.samples
            ],
        }
        for group in groups
    ]  # fmt: skip
    write_json(folder / "duplicates.json", content)
