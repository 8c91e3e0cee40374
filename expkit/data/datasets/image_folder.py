"""Images in one folder per class."""

from collections.abc import Collection, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from expkit.config.registry import datasets
from expkit.core.errors import ConfigError
from expkit.core.escaping import as_override
from expkit.core.formatting import count_noun
from expkit.data.class_names import by_known, differ, merged, merged_notes
from expkit.data.dataset import ImageDataset, Splits
from expkit.data.datasets.file_tree import FileTree
from expkit.data.datasets.image_files import (
    ImageFiles,
    existing_folder,
    has_images,
    image_tree,
    nothing_found,
    overlap_warning,
    visible_folders,
)
from expkit.data.datasets.split_names import SplitFolders, by_role, find_splits, role_of


@datasets.register("image_folder")
def image_folder(root: str, val_root: str | None = None) -> Splits:
    """One folder per class; `root` may also hold train/ and val/ (or valid/, dev/, …), each with the classes' folders.

    A test/ beside them is kept apart: python -m expkit evaluate RUN --split test reads it.
    """
    folder = existing_folder(root, "dataset.root")
    found = find_splits(folder, "dataset.root", val_root is None)
    train, tree = _read(found.train, "dataset.root", found.classes)
    _refuse_splits_in_classes(tree)
    notes = [*found.notes, *_notes(tree), *merged_notes(merged(found.classes))]
    if found.train != folder:
        notes += image_tree(folder, ()).passed.notes()
    place = found.val if val_root is None else _val_folder(val_root)
    if place is None and found.train != folder:
        notes.append(f"took {found.train} for training")
    if val_root is None and place is not None:
        notes.append(f"took {found.train} for training and {place} for validation")
    val = None
    if place is not None:
        val, val_tree = _read(place, "dataset.val_root", None, train.class_names)
        notes += [*_notes(val_tree), *overlap_warning(val_tree, tree, "validation")]
    test, more = _kept_apart(found, tree, train.class_names)
    return Splits(train, val, [*notes, *more], test=test)


def _refuse_splits_in_classes(tree: FileTree) -> None:
    """Raise ConfigError if class folders contain splits (cat/train, cat/test), which would all be trained on."""
    below = dict.fromkeys(tuple(path.split("/")[:2]) for path in sorted(tree.paths) if path.count("/") > 1)
    roles = by_role(dict.fromkeys(name for _, name in below))
    if "train" in roles and len(roles) > 1:
        shown = ", ".join("/".join(parts) for parts in list(below)[:4])
        problem = f"the class folders of '{tree.root}' hold splits themselves ({shown})"
        raise ConfigError(f"dataset.root: {problem}; arrange them as train/CLASS, val/CLASS and test/CLASS (links do)")


def read_folders(folder: Path, option: str) -> ImageFiles:
    """Return the images of a folder, labelled by its sub-folders in sorted order. Raises ConfigError."""
    return _read(folder, option)[0]


def _val_folder(val_root: str) -> Path:
    """Return the folder of dataset.val_root. Raises ConfigError if it contains splits instead of classes."""
    folder = existing_folder(val_root, "dataset.val_root")
    found = find_splits(folder, "dataset.val_root", needs_val=False)
    if found.train != folder:
        inner = next(name for name in visible_folders(folder) if role_of(name))
        inner = next((name for name in visible_folders(folder) if role_of(name) in ("val", "test")), inner)
        problem = f"'{val_root}' holds splits itself ({', '.join(filter(role_of, visible_folders(folder)))})"
        raise ConfigError(
            f"dataset.val_root: {problem}; name one of them, e.g. {as_override('dataset.val_root', folder / inner)}"
        )
    return folder


def _read(
    folder: Path, option: str, tops: Collection[str] | None = None, known: Sequence[str] | None = None
) -> tuple[ImageFiles, FileTree]:
    """Return the images of a folder and its file tree. Raises ConfigError.

    tops: its class folders, None for all. known: the classes of the training images, some of which may be absent here.
    """
    classes = sorted(visible_folders(folder) if tops is None else tops)
    if not classes:
        if has_images(folder):
            raise ConfigError(
                f"{option}: '{folder}' holds images but no class folders; for names like cat.1.jpg use dataset=dogcat"
            )
        raise nothing_found(folder, option)
    tree = image_tree(folder, classes)
    spelling = merged(classes) if known is None else by_known(classes, known)
    by_class: dict[str, list[str]] = {name: [] for name in spelling.values()}
    for path in tree.paths:
        by_class[spelling[path.split("/", 1)[0]]].append(path)
    empty = [name for name, paths in by_class.items() if not paths]
    if known is None and empty:
        raise _no_image(folder, option, empty, tree)
    if known is not None:
        filled = [name for name, paths in by_class.items() if paths or name in known]
        if set(filled) - set(known):
            difference = differ(known, "training", filled, f"'{folder}'")
            raise ConfigError(f"{option}: the classes differ: {difference}")
        if not tree.paths:
            raise nothing_found(folder, option, tree.passed)
    names = list(known or by_class)
    paths = [sorted(by_class.get(name, [])) for name in names]
    targets = np.repeat(np.arange(len(names)), [len(members) for members in paths])
    return ImageFiles(folder, chain.from_iterable(paths), targets, names), tree


def _no_image(folder: Path, option: str, empty: Sequence[str], tree: FileTree) -> ConfigError:
    named = ", ".join(empty)
    there = f" (there are {tree.passed})" if str(tree.passed) else ""
    if same := next(((path, other) for path, other in tree.repeated if path.split("/", 1)[0] in empty), None):
        why = f" but what is there already ({same[0]}: {same[1]})"
        return ConfigError(f"{option}: no image in the class folder {named} of '{folder}'{why}; add some or remove it")
    return ConfigError(f"{option}: no image in the class folder {named} of '{folder}'{there}; add some or remove it")


def _notes(tree: FileTree) -> list[str]:
    """Return the tree's notes, and a warning for files that links put into two classes."""
    notes = tree.notes()
    ambiguous = [pair for pair in tree.repeated if pair[1] in tree.known and _label(pair[0]) != _label(pair[1])]
    if ambiguous:
        path, other = ambiguous[0]
        count = f"{len(ambiguous):,} files lie" if len(ambiguous) > 1 else "1 file lies"
        notes.append(f"warning: {count} in two classes by links, e.g. {path} is {other}; counted as {_label(other)}")
    return notes


def _label(path: str) -> str:
    return path.split("/", 1)[0]


def _kept_apart(found: SplitFolders, tree: FileTree, known: Sequence[str]) -> tuple[ImageDataset | None, list[str]]:
    """Return the labelled test images, if any, and notes on all folders kept apart."""
    test, notes = None, []
    for place in found.tests:
        images = image_tree(place)
        notes.append(f"kept {place} apart ({count_noun(len(images.paths), 'image')}): neither trained nor validated on")
        notes += overlap_warning(images, tree, "test")
        if test is None and set(visible_folders(place)) & set(known):
            try:
                test = _read(place, "dataset.root", None, known)[0]
            except ConfigError as error:  # training does not need it
                notes.append(f"it cannot be evaluated on: {error.faults[0].partition(': ')[2]}")
    return test, notes
