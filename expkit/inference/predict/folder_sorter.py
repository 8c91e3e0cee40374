"""Images copied into one folder per predicted class; nothing that lies there is ever overwritten."""

import filecmp
import shutil
from collections.abc import Iterator
from pathlib import Path

from expkit.core.errors import ConfigError
from expkit.inference.predict.prediction import Prediction

NO_CLASS = "_none"  # the folder of images that have no label above the threshold


class FolderSorter:
    """Copies each image to folder/CLASS/NAME; where another file has that name, to NAME-2, NAME-3, ..."""

    def __init__(self, folder: Path, classes: tuple[str, ...]) -> None:
        self.folder = folder
        self.copied = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--sort-into: cannot make '{folder}': {error.strerror}; give another folder") from error
        self._places = {name: folder / _as_folder(name) for name in classes} | {NO_CLASS: folder / NO_CLASS}

    def add(self, prediction: Prediction) -> None:
        """Copy one image; with several labels into the folder of each. Raises OSError."""
        for name in prediction.classes or (NO_CLASS,):
            self._copy(Path(prediction.path), self._places[name])

    def _copy(self, source: Path, place: Path) -> None:
        place.mkdir(exist_ok=True)
        for target in _names(place, source):
            try:
                target.touch(exist_ok=False)
            except FileExistsError:
                if filecmp.cmp(source, target, shallow=False):
                    return  # it was sorted before
                continue
            shutil.copy2(source, target)
            self.copied += 1
            return


def _names(place: Path, source: Path) -> Iterator[Path]:
    yield place / source.name
    for number in range(2, 1_000_000):
        yield place / f"{source.stem}-{number}{source.suffix}"


def _as_folder(name: str) -> str:
    """Return a class's word as a name of a folder: a checkpoint may hold any text, and no text leads elsewhere."""
    kept = "".join(letter if letter.isalnum() or letter in " -_.,+()'&" else "_" for letter in name).strip(" .")
    return kept or "_"
