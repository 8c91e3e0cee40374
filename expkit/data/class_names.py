"""Class names, compared in Unicode normal form: file systems may store é as one code point or as two."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from expkit.core.formatting import count_noun

_MOST_SHOWN = 5


def composed(name: str) -> str:
    """Return a name in Unicode's composed form (NFC), in which names that look alike are equal."""
    return unicodedata.normalize("NFC", str(name))  # an untrusted record may contain anything


def are_same(names: Iterable[str], others: Iterable[str]) -> bool:
    """Return True if two lists hold the same names in the same order."""
    return list(map(composed, names)) == list(map(composed, others))


def by_known(names: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Return {name: equal known name, or the name itself}: maps a file system's spelling to the training spelling."""
    spelling = {composed(name): name for name in known}
    return {name: spelling.get(composed(name), name) for name in names}


def merged(names: Iterable[str]) -> dict[str, str]:
    """Return {name: common spelling}: the only spelling, or the composed form if there are several."""
    spelled: dict[str, list[str]] = {}
    for name in names:
        spelled.setdefault(composed(name), []).append(name)
    return {
        name: spellings[0] if len(spellings) == 1 else key for key, spellings in spelled.items() for name in spellings
    }


def merged_notes(names: Mapping[str, str]) -> list[str]:
    """Return a message for each group of merged names. names: as returned by `merged`."""
    groups: dict[str, list[str]] = {}
    for name, label in names.items():
        groups.setdefault(label, []).append(name)
    return [
        f"{' and '.join(map(ascii, spellings))} differ in their Unicode normalisation only: one class, {label}"
        for label, spellings in groups.items()
        if len(spellings) > 1
    ]


def differ(names: Sequence[str], its: str, others: Sequence[str], others_are: str) -> str:
    """Describe how two lists of classes differ.

    its, others_are: the name of each list, e.g. train and val.
    """
    first, second = list(map(composed, names)), list(map(composed, others))
    parts = [
        f"only {label} has {_listed([name for name in own if name not in known])}"
        for label, own, known in ((its, first, set(second)), (others_are, second, set(first)))
        if set(own) - known
    ]
    if parts:
        return "; ".join(parts)
    if len(first) != len(second):
        return (
            f"{its} has {count_noun(len(first), 'class')}, {others_are} {len(second):,}: names are there more than once"
        )
    place = next((n for n, (mine, other) in enumerate(zip(first, second, strict=True)) if mine != other), None)
    if place is None:
        return "they are the same"
    return (
        f"the same classes in another order: class {place} of {its} is {first[place]}, of {others_are} {second[place]}"
    )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_SHOWN
    shown = ", ".join(name if len(name) <= 60 else name[:59] + "…" for name in names[:_MOST_SHOWN])
    return shown + (f" and {more:,} more" if more > 0 else "")
