"""Copy images into one folder per predicted class, without overwriting files."""

import filecmp
import shutil
from itertools import count
from pathlib import Path

from expkit.core.errors import ConfigError
from expkit.inference.predict.prediction import Prediction

NO_CLASS = "_none"  # folder of images without a label above the threshold


class FolderSorter:
    """Copies each image to folder/CLASS/NAME; if another file has that name, to NAME-2, NAME-3, ..."""

    def __init__(self, folder: Path, classes: tuple[str, ...]) -> None:
        self.folder = folder
        self.copied = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--sort-into: cannot make '{folder}': {error.strerror}; give another folder") from error
        self._places = {name: folder / _as_folder(name) for name in classes} | {NO_CLASS: folder / NO_CLASS}

    def add(self, prediction: Prediction) -> None:
        """Copy one image into the folder of each of its labels. Raises OSError."""
        for name in prediction.classes or (NO_CLASS,):
            self._copy(Path(prediction.path), self._places[name])

    def _copy(self, source: Path, place: Path) -> None:
        place.mkdir(exist_ok=True)
        for number in count(1):
            target = place / (source.name if number == 1 else f"{source.stem}-{number}{source.suffix}")
            try:
                target.touch(exist_ok=False)
            except FileExistsError:
                if filecmp.cmp(source, target, shallow=False):
                    return  # it was copied before
                continue
            shutil.copy2(source, target)
            self.copied += 1
            return


def _as_folder(name: str) -> str:
    """Return a class name as a folder name: a checkpoint may hold any text, which must not lead elsewhere."""
    kept = "".join(letter if letter.isalnum() or letter in " -_.,+()'&" else "_" for letter in name).strip(" .")
    return kept or "_"
