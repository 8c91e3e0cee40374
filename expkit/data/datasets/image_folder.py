"""Images in one folder per class."""

from pathlib import Path

from expkit.data.dataset import Splits
from expkit.data.datasets.files import ImageFiles, existing_folder, image_paths, nothing_found
from expkit.registry import ConfigError, datasets


@datasets.register("image_folder")
def image_folder(root: str, val_root: str | None = None) -> Splits:
    """One folder per class; `root` may also hold train/ and val/, each with the classes' folders."""
    folder = existing_folder(root, "dataset.root")
    notes = []
    if val_root is None and (folder / "train").is_dir() and (folder / "val").is_dir():
        folder, val_root = folder / "train", str(folder / "val")
        notes = [f"took {folder} for training and {val_root} for validation"]
    train = read_folders(folder, "dataset.root")
    if val_root is None:
        return Splits(train, notes=notes)
    val = read_folders(existing_folder(val_root, "dataset.val_root"), "dataset.val_root")
    if train.class_names != val.class_names:
        shown = f"train has {', '.join(train.class_names)}; val has {', '.join(val.class_names)}"
        raise ConfigError(f"dataset.val_root: the classes differ: {shown}")
    return Splits(train, val, notes)


def read_folders(folder: Path, option: str) -> ImageFiles:
    """Return the images of a folder, labelled by its sub-folders in sorted order. Raises ConfigError."""
    classes = sorted(place.name for place in folder.iterdir() if place.is_dir() and not place.name.startswith("."))
    if not classes:
        if image_paths(folder, deep=False):
            raise ConfigError(
                f"{option}: '{folder}' holds images but no class folders; for names like cat.1.jpg use dataset=dogcat"
            )
        raise nothing_found(folder, option)
    by_class = {name: image_paths(folder / name) for name in classes}
    if empty := [name for name, paths in by_class.items() if not paths]:
        raise ConfigError(
            f"{option}: no image in the class folder {', '.join(empty)} of '{folder}'; add some or remove it"
        )
    paths = (f"{name}/{path}" for name in classes for path in by_class[name])
    targets = (number for number, name in enumerate(classes) for _ in by_class[name])
    return ImageFiles(folder, paths, targets, classes)
