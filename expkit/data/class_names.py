"""Names of classes, compared as people read them: é is one letter, whether a file system keeps it as one or as two."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from expkit.core.formatting import count_noun

_MOST_SHOWN = 5


def composed(name: str) -> str:
    """Return a name in Unicode's composed form (NFC), in which names that look the same are equal."""
    return unicodedata.normalize("NFC", str(name))  # a stranger's record may hold anything


def are_same(names: Iterable[str], others: Iterable[str]) -> bool:
    """Return True if two lists hold the same names in the same order."""
    return list(map(composed, names)) == list(map(composed, others))


def by_known(names: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Return for each name the known one that it is, or the name itself: of a file system's spelling the training's."""
    spelling = {composed(name): name for name in known}
    return {name: spelling.get(composed(name), name) for name in names}


def merged(names: Iterable[str]) -> dict[str, str]:
    """Return for each name what all spellings of it are called: its only spelling, or the composed one of several."""
    spelled: dict[str, list[str]] = {}
    for name in names:
        spelled.setdefault(composed(name), []).append(name)
    return {name: some[0] if len(some) == 1 else key for key, some in spelled.items() for name in some}


def merged_notes(names: Mapping[str, str]) -> list[str]:
    """Return what to say of names that were merged. names: as `merged` returns them."""
    found: dict[str, list[str]] = {}
    for name, called in names.items():
        found.setdefault(called, []).append(name)
    return [
        f"{' and '.join(map(ascii, some))} differ in their Unicode normalisation only: one class, {called}"
        for called, some in found.items()
        if len(some) > 1
    ]


def differ(names: Sequence[str], its: str, others: Sequence[str], others_are: str) -> str:
    """Return how two lists of classes differ, and nothing of what they share.

    its, others_are: what each list is called, e.g. train and val.
    """
    first, second = list(map(composed, names)), list(map(composed, others))
    parts = [
        f"only {called} has {_listed([name for name in own if name not in known])}"
        for called, own, known in ((its, first, set(second)), (others_are, second, set(first)))
        if set(own) - known
    ]
    if parts:
        return "; ".join(parts)
    if len(first) != len(second):
        return (
            f"{its} has {count_noun(len(first), 'class')}, {others_are} {len(second):,}: names are there more than once"
        )
    place = next((n for n, (one, other) in enumerate(zip(first, second, strict=True)) if one != other), None)
    if place is None:
        return "they are the same"
    return (
        f"the same classes in another order: class {place} of {its} is {first[place]}, of {others_are} {second[place]}"
    )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_SHOWN
    shown = ", ".join(name if len(name) <= 60 else name[:59] + "…" for name in names[:_MOST_SHOWN])
    return shown + (f" and {more:,} more" if more > 0 else "")
