"""Local data sets of Hugging Face's `datasets`; nothing is downloaded and no script is run."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np

from expkit.config.registry import datasets
from expkit.core.errors import ConfigError, nearest
from expkit.core.escaping import as_override
from expkit.data.dataset import ImageDataset, Splits
from expkit.data.datasets.file_tree import FileTree
from expkit.data.datasets.image_files import existing_folder
from expkit.data.datasets.split_names import Role, by_role
from expkit.data.decode import BadImage, read_file


@datasets.register("huggingface")
def huggingface(
    root: str, image_column: str = "image", label_column: str = "label", val_split: str | None = "auto"
) -> Splits:
    """What save_to_disk wrote, or a folder of parquet files; needs the extra expkit[huggingface].

    image_column: where the images are; label_column: where the classes are; val_split: the split for validation,
    "auto": the one called validation, valid, val or dev, else that called test; null: a share of train is held out.
    """
    folder = existing_folder(root, "dataset.root")
    parts, passed = _opened(folder)
    roles = by_role(parts)
    trained_on = ["train"] if "train" in parts else roles.get("train", [])
    if len(trained_on) != 1:
        raise ConfigError(f"dataset.root: '{root}' has no one split 'train', it has {', '.join(parts)}")
    notes = passed
    if val_split == "auto":
        val_split, more = _for_validation(roles)
        notes = [*notes, *more]
    if val_split is not None and val_split not in parts:
        raise ConfigError(f"dataset.val_split: there is no split '{val_split}'; there is {', '.join(parts)}")
    (train,) = trained_on
    if val_split == train:
        notes = [*notes, f"warning: the split {train} trains and validates: its scores say nothing about new images"]
    for column in (image_column, label_column):
        if column not in (columns := parts[train].column_names):
            option = "image_column" if column == image_column else "label_column"
            hint = nearest(column, columns) or f"; there is {', '.join(columns)}"
            raise ConfigError(f"dataset.{option}: there is no column '{column}'{hint}")
    for split in [train, *([val_split] if val_split else [])]:
        _check_buffers(folder, split, parts[split].select_columns([image_column, label_column]))
    names = _class_names(parts[train], label_column)

    def rows(split: str) -> Rows:
        return Rows(folder, split, parts[split], names, image_column, label_column)

    return Splits(rows(train), rows(val_split) if val_split else None, notes)


def _for_validation(roles: Mapping[Role, list[str]]) -> tuple[str | None, list[str]]:
    """Return the validation split, and notes on test splits."""
    val, test = roles.get("val", []), roles.get("test", [])
    val = next(([name] for name in ("validation", "valid", "val") if name in val), val)
    if len(val) > 1:
        raise ConfigError(
            f"dataset.val_split: there is {' and '.join(val)}; set {as_override('dataset.val_split', val[0])}"
        )
    if val or not test:
        notes = [f"kept the split {name} apart: neither trained nor validated on" for name in test]
        return (val[0] if val else None), notes
    remedy = "dataset.val_split=null holds out a share of train instead"
    return test[0], [f"validates on the split {test[0]}, as there is none for validation; {remedy}"]


def _opened(folder: Path) -> tuple[Mapping[str, Any], list[str]]:
    """Return the splits by name, and notes on skipped files. Raises ConfigError."""
    try:
        import datasets as library
    except ImportError as error:
        remedy = "install expkit[huggingface]"
        raise ConfigError(f"dataset.name: huggingface needs the package datasets; {remedy}") from error
    saved = any((folder / name).is_file() for name in ("dataset_dict.json", "dataset_info.json", "state.json"))
    tree = FileTree(folder, lambda name: name.endswith(".parquet"))
    if not saved and not tree.paths:
        raise ConfigError(f"dataset.root: '{folder}' holds neither what save_to_disk wrote nor parquet files")
    try:
        with _no_bars(library):
            found = library.load_from_disk(str(folder)) if saved else _parquet(library, tree)
    except Exception as error:  # the library does not document what it raises for damaged files
        reason = error.__cause__ or error  # the library wraps the cause in a message without it
        raise ConfigError(f"dataset.root: '{folder}' cannot be opened: {' '.join(str(reason).split())}") from error
    return found if isinstance(found, dict) else {"train": found}, [] if saved else tree.notes()


def _parquet(library: Any, tree: FileTree) -> Any:
    """Return the parquet files by the splits that the library finds, without leftovers and other files."""
    place = str(tree.root)
    if not tree.passed.leftovers and not tree.passed.endings:
        return library.load_dataset("parquet", data_dir=place)
    patterns = library.data_files.get_data_patterns(place)
    found = library.data_files.DataFilesDict.from_patterns(patterns, base_path=place)
    kept = {str(tree.root.resolve() / path) for path in tree.paths}
    by_split = {split: [path for path in paths if str(Path(path).resolve()) in kept] for split, paths in found.items()}
    files = {split: [escape(path) for path in paths] for split, paths in by_split.items() if paths}
    return library.load_dataset("parquet", data_files=files)


def _check_buffers(folder: Path, split: str, rows: Any) -> None:
    """Raise ConfigError where Arrow's offsets point out of its buffers: to read such a row can end the process."""
    try:
        rows.data.validate(full=True)  # reads offsets and texts, not the images
    except Exception as error:
        problem = f"the split {split} is damaged ({' '.join(str(error).split())})"
        raise ConfigError(f"dataset.root: '{folder}': {problem}; save or copy it again") from error


@contextmanager
def _no_bars(library: Any) -> Iterator[None]:
    library.disable_progress_bars()
    try:
        yield
    finally:
        library.enable_progress_bars()


def _class_names(rows: Any, column: str) -> list[str]:
    feature = rows.features[column]
    if names := getattr(feature, "names", None):
        return list(names)
    try:
        labels = set(rows[column])
    except TypeError:  # lists, mappings
        labels = {None}
    if None in labels or any(isinstance(label, int) and label < 0 for label in labels):
        raise ConfigError(f"dataset.label_column: '{column}' holds no single class per image")
    if all(isinstance(label, int) for label in labels):  # the numbers do not tell how many classes there are
        return [str(number) for number in sorted(labels)]
    return sorted(map(str, labels))


class Rows(ImageDataset):
    """Rows of a memory-mapped Arrow table, which workers share; images stay encoded until they are read."""

    def __init__(
        self, root: Path, split: str, rows: Any, names: list[str], image_column: str, label_column: str
    ) -> None:
        from datasets import Image

        if not isinstance(rows.features[image_column], Image):
            kind = type(rows.features[image_column]).__name__
            raise ConfigError(f"dataset.image_column: '{image_column}' holds {kind}, not images")
        self.root, self.split, self.class_names = root, split, tuple(names)
        labels = rows[label_column]
        place = {name: number for number, name in enumerate(names)}
        is_index = bool(getattr(rows.features[label_column], "names", None))
        numbers = [label if is_index and isinstance(label, int) else place.get(str(label), -1) for label in labels]
        self.targets = np.array(numbers, dtype=np.int64)
        if len(self.targets) and not (self.targets.min() >= 0 and self.targets.max() < len(names)):
            problem = f"'{label_column}' of split {split} holds labels that train has not"
            raise ConfigError(f"dataset.label_column: {problem}; correct it, or take another split")
        self._images = rows.select_columns([image_column]).cast_column(image_column, Image(decode=False))
        self._column = image_column

    def sample_name(self, index: int) -> str:
        return f"{self.split}/{index}"

    def location(self, index: int) -> str:
        return f"{self.root}: row {index} of {self.split}"

    def encoded(self, index: int) -> bytes:
        image = self._images[index][self._column]
        if image is None:
            raise BadImage(self.location(index), "the row holds no image")
        return bytes(image["bytes"]) if image["bytes"] is not None else read_file(image["path"])
