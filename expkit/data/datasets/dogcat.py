"""Images whose file names begin with their class: cat.12.jpg, dog.7.jpg."""

from collections import Counter
from pathlib import Path

from expkit.data.dataset import Splits
from expkit.data.datasets.files import ImageFiles, existing_folder, image_paths, nothing_found
from expkit.registry import ConfigError, datasets


@datasets.register("dogcat")
def dogcat(root: str, val_root: str | None = None, classes: list[str] | None = None) -> Splits:
    """Images labelled by file name, as in Kaggle's Dogs vs. Cats; class 0 is the first of `classes`."""
    names = classes or ["cat", "dog"]
    if len(set(names)) != len(names):
        raise ConfigError(f"dataset.classes: a class is listed twice: {names}")
    train = read_names(existing_folder(root, "dataset.root"), names, "dataset.root")
    val = read_names(existing_folder(val_root, "dataset.val_root"), names, "dataset.val_root") if val_root else None
    counts = Counter(train.targets.tolist())
    shown = ", ".join(f"class {index} is {name} ({counts[index]} images)" for index, name in enumerate(names))
    return Splits(train, val, notes=[shown])


def read_names(folder: Path, classes: list[str], option: str) -> ImageFiles:
    """Return the images of a folder, labelled by what stands before the first dot. Raises ConfigError."""
    paths = image_paths(folder)
    if not paths:
        raise nothing_found(folder, option)
    prefixes = [path.rsplit("/", 1)[-1].split(".", 1)[0] for path in paths]
    if unknown := sorted(set(prefixes) - set(classes)):
        example = paths[prefixes.index(unknown[0])]
        raise ConfigError(
            f"dataset.classes: '{example}' begins with none of {', '.join(classes)}; name every prefix there is,"
            f" e.g. dataset.classes=[{','.join(sorted(set(prefixes))[:5])}]"
        )
    return ImageFiles(folder, paths, map(classes.index, prefixes), classes)
