"""Recognise folders and files that are named after a split: train, valid, test and variants."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Literal

from expkit.core.errors import ConfigError
from expkit.core.escaping import as_override
from expkit.data.datasets.image_files import visible_folders

Role = Literal["train", "val", "test"]

_ROLES: dict[str, Role] = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "validate": "val", "dev": "val", "development": "val",
    "eval": "val", "evaluation": "val",
    "test": "test", "testing": "test", "holdout": "test", "heldout": "test",
}  # fmt: skip
_FURTHER = re.compile(r"(set|data|images|imgs|split|folder)$")
# Names of splits only where folders hold the same classes.
_SHORT: dict[str, Role] = {"tr": "train", "trn": "train", "va": "val", "vl": "val", "vld": "val", "minival": "val",
                           "te": "test", "tst": "test", "tests": "test"}  # fmt: skip
_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")


def role_of(name: str) -> Role | None:
    """Return the split that a name denotes, ignoring case: Train, valid, test1, training_set, val2017."""
    word = re.sub(r"[^a-z]", "", name.lower())
    return _ROLES.get(word) or _ROLES.get(_FURTHER.sub("", word))


def by_role(names: Iterable[str]) -> dict[Role, list[str]]:
    """Return the names that denote a split, by split."""
    roles: dict[Role, list[str]] = {}
    for name in names:
        if role := role_of(name):
            roles.setdefault(role, []).append(name)
    return roles


@dataclass(frozen=True)
class SplitFolders:
    """The split folders; train is the folder itself if its classes are next to a split's folder.

    classes: the class folders of train. tests: kept apart. notes: messages for the user.
    """

    train: Path
    classes: Collection[str]
    val: Path | None = None
    tests: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_splits(folder: Path, option: str, needs_val: bool = True) -> SplitFolders:
    """Distinguish a folder's splits from its classes. Raises ConfigError if the names are ambiguous.

    Folders are splits if they contain the same classes, or if several have names of splits. needs_val: whether to look
    for a validation split.
    """
    tops = visible_folders(folder)
    roles: Mapping[Role, list[str]] = by_role(tops)
    if not ("train" in roles and len(roles) > 1):
        roles = _by_part_of_name(folder, tops, roles)
    if not roles and len(tops) == 1:
        _refuse_one_folder(folder, option)
    named = [name for names in roles.values() for name in names]
    siblings = [name for name in tops if name not in named]
    inside = {name: _inside(folder / name) for name in named}
    if "train" in roles and (len(roles) > 1 or (not siblings and all(inside.values()))):
        return _with_train_folder(folder, roles, siblings, inside, option, needs_val)
    beside = {role: [name for name in names if inside[name] & set(siblings)] for role, names in roles.items()}
    if len(named) > 1 and not siblings and "train" not in roles:
        raise ConfigError(
            f"{option}: '{folder}' holds {', '.join(named)} but no training folder; set {option} to the folder that"
            " holds the training images' classes"
        )
    _refuse_unknown_splits(folder, roles, siblings, option)
    if beside.get("train"):
        raise ConfigError(
            f"{option}: '{folder}' holds classes, and a folder {beside['train'][0]} with the same ones; set"
            f" {as_override(option, folder / beside['train'][0])}, or move the one or the other elsewhere"
        )
    apart = {name for names in beside.values() for name in names}
    notes = [f"took the folder {name} for a class, not for a split" for name in named if name not in apart and siblings]
    notes += _of_same_folders(folder, tops) if not named else []
    val = _the_val_folder(folder, beside) if needs_val else None
    return SplitFolders(folder, [name for name in tops if name not in apart], val, _tests(folder, beside), notes)


def _inside(folder: Path) -> set[str]:
    """Return the subfolders of a split's folder, none if it is not readable."""
    try:
        return set(visible_folders(_innermost(folder)))
    except PermissionError:
        return set()


def _by_part_of_name(folder: Path, tops: Collection[str], roles: Mapping[Role, list[str]]) -> Mapping[Role, list[str]]:
    """Add folders whose names contain a split (seg_train, PublicTest), if two splits share a class."""
    found = {role: list(names) for role, names in roles.items()}
    for name in tops:
        if role_of(name):
            continue
        words = _PARTS.findall(name)
        own = {role for word in words if (role := role_of(word) or _SHORT.get(word.lower()))}
        if len(own) == 1:
            found.setdefault(own.pop(), []).append(name)
    if len(found) < 2:
        return roles
    classes = [{label for name in names for label in _inside(folder / name)} for names in found.values()]
    return found if any(first & second for first, second in combinations(classes, 2)) else roles


def _refuse_one_folder(folder: Path, option: str) -> None:
    """Raise ConfigError if an archive's single top folder wraps the folder of classes or splits."""
    place = folder
    while len(tops := visible_folders(place)) == 1 and not (place / tops[0]).is_symlink():
        place /= tops[0]
    if place != folder and len(tops) > 1:
        inner = place.relative_to(folder).as_posix()
        shown = ", ".join(tops[:5]) + ", …" * (len(tops) > 5)
        problem = f"'{folder}' holds the folder {inner}, which holds {shown}"
        raise ConfigError(f"{option}: {problem}; set {as_override(option, place)}")


def _refuse_unknown_splits(folder: Path, roles: Mapping[Role, list[str]], siblings: Sequence[str], option: str) -> None:
    """Raise ConfigError if other folders contain the same classes as a split: they look like splits too."""
    named = [name for names in roles.values() for name in names]
    classes = {label for name in named for label in _inside(folder / name)}
    alike = {name: both for name in siblings if (both := _inside(folder / name) & classes)}
    if not alike:
        return
    names = ", ".join(sorted([*named, *alike]))
    same = ", ".join(sorted(set.union(*alike.values()))[:3])
    train = roles["train"][0] if "train" in roles else next(iter(alike))
    remedy = f"set {as_override(option, folder / train)} to train on that one"
    raise ConfigError(
        f"{option}: the folders {names} of '{folder}' hold the same folders ({same}), so they look like splits;"
        f" {remedy}, or rename {', '.join(named)} if these are classes"
    )


def _of_same_folders(folder: Path, tops: Sequence[str]) -> list[str]:
    """Return a warning if all classes contain the same folders, which may be the actual classes."""
    if len(tops) < 2 or len(inside := visible_folders(folder / tops[0])) < 2:
        return []
    if any(visible_folders(folder / name) != inside for name in tops[1:]):
        return []
    shown, each = ", ".join(tops[:3]), ", ".join(inside[:3])
    advice = "if these are the classes, set dataset.root to one folder that holds them"
    return [f"warning: the classes ({shown}) all hold the same folders ({each}); {advice}"]


def _with_train_folder(
    folder: Path, roles: Mapping[Role, list[str]], siblings: list[str], inside: Mapping[str, set[str]], option: str,
    needs_val: bool,
) -> SplitFolders:  # fmt: skip
    if len(roles["train"]) > 1:
        raise ConfigError(
            f"{option}: '{folder}' holds {' and '.join(roles['train'])}, and only one folder can be the training"
            f" split; set {as_override(option, folder / roles['train'][0])}"
        )
    (name,) = roles["train"]
    if not inside[name]:
        named = ", ".join(split for names in roles.values() for split in names)
        raise ConfigError(
            f"{option}: the folders of '{folder}' have the names of splits ({named}), and '{name}' holds no class"
            " folders; for names like cat.1.jpg use dataset=dogcat, and rename the folders if they are classes"
        )
    train = _innermost(folder / name)
    notes = [f"passed over {', '.join(siblings[:5])} beside the splits of {folder}"] if siblings else []
    val = _the_val_folder(folder, roles) if needs_val else None
    return SplitFolders(train, visible_folders(train), val, _tests(folder, roles), notes)


def _the_val_folder(folder: Path, roles: Mapping[Role, list[str]]) -> Path | None:
    names = roles.get("val", [])
    if len(names) > 1:
        problem = f"'{folder}' holds {' and '.join(names)}, and only one folder can be the validation split"
        raise ConfigError(f"dataset.val_root: {problem}; set {as_override('dataset.val_root', folder / names[0])}")
    return _innermost(folder / names[0]) if names else None


def _tests(folder: Path, roles: Mapping[Role, list[str]]) -> list[Path]:
    return [_innermost(folder / name) for name in roles.get("test", [])]


def _innermost(folder: Path) -> Path:
    """Return the folder that holds a split's classes: archives often have training_set/training_set."""
    tops = visible_folders(folder)
    while len(tops) == 1 and (tops[0] == folder.name or role_of(tops[0]) == role_of(folder.name) is not None):
        folder = folder / tops[0]
        tops = visible_folders(folder)
    return folder
