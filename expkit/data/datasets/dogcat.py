"""Images whose file names begin with their class: cat.12.jpg, dog.7.jpg."""

from collections import Counter
from pathlib import Path

from expkit.config.registry import datasets
from expkit.core.errors import ConfigError
from expkit.core.escaping import as_list
from expkit.core.formatting import count_noun
from expkit.data.class_names import by_known
from expkit.data.dataset import Splits
from expkit.data.datasets.file_tree import FileTree
from expkit.data.datasets.image_files import (
    ImageFiles,
    existing_folder,
    image_tree,
    nothing_found,
    overlap_warning,
    visible_folders,
)
from expkit.data.datasets.split_names import by_role


@datasets.register("dogcat")
def dogcat(root: str, val_root: str | None = None, classes: list[str] | None = None) -> Splits:
    """Images labelled by file name, as in Kaggle's Dogs vs. Cats; class 0 is the first of `classes`.

    `root` may also hold train/ and val/ or test/; a test/ is kept apart.
    """
    names = classes or ["cat", "dog"]
    if len(set(names)) != len(names):
        raise ConfigError(f"dataset.classes: a class is listed twice: {names}")
    folder, inside, apart, notes = _splits_of(existing_folder(root, "dataset.root"))
    tree = image_tree(folder)
    tree.leave_out(apart)
    train = _labelled(tree, names, "dataset.root")
    place = existing_folder(val_root, "dataset.val_root") if val_root else inside
    val = None
    if place is not None:
        val_tree = image_tree(place)
        val = _labelled(val_tree, names, "dataset.val_root")
        notes = [*notes, *val_tree.passed.notes(), *overlap_warning(val_tree, tree, "validation")]
    counts = Counter(train.targets.tolist())
    shown = ", ".join(
        f"class {index} is {name} ({count_noun(counts[index], 'image')})" for index, name in enumerate(names)
    )
    return Splits(train, val, notes=[shown, *notes, *tree.notes()])


def _splits_of(root: Path) -> tuple[Path, Path | None, list[str], list[str]]:
    """Return the training folder, the validation folder, subfolders of the first to leave out, and notes."""
    roles = by_role(visible_folders(root))
    if len(roles) < 2 and ("train" in roles or not roles):
        return root, None, [], []
    if len(many := [name for role in ("train", "val") for name in roles.get(role, [])]) > len(roles.keys() - {"test"}):
        raise ConfigError(
            f"dataset.root: '{root}' holds {', '.join(many)}, so the splits are not clear; set dataset.root to the"
            " folder of the training images and dataset.val_root to that of the others"
        )
    apart = [name for role in ("val", "test") for name in roles.get(role, [])]
    train = root / roles["train"][0] if "train" in roles else root
    if train == root and not any(path.partition("/")[0] not in apart for path in image_tree(root).paths):
        if len(apart) == 1:
            return root, None, [], []  # one folder of images, whatever it is called
        raise ConfigError(
            f"dataset.root: '{root}' holds {', '.join(apart)} but no training images; set dataset.root to their folder"
        )
    val = root / roles["val"][0] if "val" in roles else None
    notes = [f"took {train} for training" + f" and {val} for validation" * (val is not None)]
    notes += [f"kept {root / name} apart: neither trained nor validated on" for name in roles.get("test", [])]
    return train, val, apart if train == root else [], notes


def read_names(folder: Path, classes: list[str], option: str) -> ImageFiles:
    """Return the images of a folder, labelled by their names up to the first dot. Raises ConfigError."""
    return _labelled(image_tree(folder), classes, option)


def _labelled(tree: FileTree, classes: list[str], option: str) -> ImageFiles:
    paths = sorted(tree.paths)
    if not paths:
        raise nothing_found(tree.root, option, tree.passed)
    prefixes = [path.rsplit("/", 1)[-1].split(".", 1)[0] for path in paths]
    called = by_known(set(prefixes), classes)
    prefixes = [called[prefix] for prefix in prefixes]
    if unknown := [path for path, prefix in zip(paths, prefixes, strict=True) if prefix not in classes]:
        raise _unknown_prefix(tree, unknown, option, classes, set(prefixes))
    return ImageFiles(tree.root, paths, map(classes.index, prefixes), classes)


_MOST_CLASSES = 100  # in the list that a message suggests


def _unknown_prefix(tree: FileTree, paths: list[str], option: str, classes: list[str], found: set[str]) -> ConfigError:
    """Return the error for files whose names begin with no known class.

    paths: of these files. found: all prefixes in the folder.
    """
    if nameless := [path for path in paths if path.rsplit("/", 1)[-1].count(".") < 2]:
        count = f"{count_noun(len(nameless), 'image')} of '{tree.root}' {'has' if len(nameless) == 1 else 'have'}"
        problem = f"{option}: {count} no class in the file name as cat.1.jpg has, e.g. '{nameless[0]}'"
        if option == "dataset.val_root":
            return ConfigError(f"{problem}; leave {option} out, and a share of the training images is held out")
        return ConfigError(
            f"{problem}; if these are test images, set {option} to the training images' folder;"
            " python -m expkit predict RUN FOLDER classifies them afterwards"
        )
    there = sorted(found | (set(classes) if option == "dataset.val_root" else set()))
    problem = f"dataset.classes: '{paths[0]}' begins with none of {', '.join(classes)}"
    if len(there) > _MOST_CLASSES:
        return ConfigError(f"{problem}; its files begin with {len(there):,} different names, so these are no classes")
    return ConfigError(f"{problem}; name every prefix there is: {as_list('dataset.classes', there)}")
