"""WebDataset shards: tar files in which a sample's files stand together, read by position and not as a stream."""

import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from expkit.config.registry import datasets
from expkit.core.errors import ConfigError
from expkit.core.formatting import count_noun
from expkit.data.dataset import ImageDataset, Splits
from expkit.data.datasets.image_files import EXTENSIONS, existing_folder
from expkit.data.datasets.leftovers import PassedOver, is_leftover
from expkit.data.datasets.split_names import Role, role_of
from expkit.data.decode import BadImage

_LONGEST_LABEL = 200  # characters of a .cls file
_ALL = "*.tar"


@datasets.register("webdataset")
def webdataset(
    root: str, shards: str = _ALL, val_shards: str | None = None, classes: list[str] | None = None
) -> Splits:
    """Tar files with an image and a .cls file (a number or a word) for each sample, as the library writes them.

    Where shards is not given, those named after a split (val-0001.tar, test/0001.tar) are that split's.
    """
    folder = existing_folder(root, "dataset.root")
    val_files = _shards(folder, val_shards, "dataset.val_shards") if val_shards else []
    notes: list[str] = []
    if shards == _ALL:
        files, own, notes = _by_split(folder, val_files)
        val_files = val_files or own
    else:
        files = _shards(folder, shards, "dataset.shards")
    files = [path for path in files if path not in val_files]
    if not files:
        raise ConfigError(f"dataset.shards: all that '{shards}' names are for validation; name others to train on")
    passed = Unread()
    train, val = ([sample for path in paths for sample in read_index(path, passed)] for paths in (files, val_files))
    if not train:
        raise ConfigError(f"dataset.shards: no image with a .cls file is in '{files[0]}'; is it a WebDataset shard?")
    names = classes or _names([*train, *val])
    return Splits(
        ShardImages(folder, train, names),
        ShardImages(folder, val, names) if val else None,
        [*notes, *passed.all_notes()],
    )


class Sample(NamedTuple):
    """An image in a shard: position of its bytes, key, and the content of its .cls file."""

    shard: Path
    offset: int
    size: int
    key: str
    label: str


@dataclass
class Unread(PassedOver):
    """Shard members other than samples. unlabelled: images without a .cls file; without_image: .cls files
    without an image; truncated: shards that end too early."""

    unlabelled: list[str] = field(default_factory=list)
    without_image: list[str] = field(default_factory=list)
    truncated: list[str] = field(default_factory=list)

    def all_notes(self) -> list[str]:
        """Return a sentence for each kind."""
        notes = self.notes()
        if self.unlabelled:
            found = count_noun(len(self.unlabelled), "image")
            notes.append(f"passed over {found} without a .cls file (e.g. {self.unlabelled[0]})")
        if self.without_image:
            found = count_noun(len(self.without_image), ".cls file")
            notes.append(f"passed over {found} without an image that can be read (e.g. {self.without_image[0]})")
        if self.truncated:
            found = count_noun(len(self.truncated), "shard")
            notes.append(f"warning: {found} without a tar file's end, perhaps cut off in a copy: {self.truncated[0]}")
        return notes


def _shards(folder: Path, pattern: str, option: str) -> list[Path]:
    found = [] if Path(pattern).is_absolute() else sorted(folder.glob(pattern))
    if not (found := [path for path in found if not is_leftover(path.name)]):
        raise ConfigError(f"{option}: no shard in '{folder}' is called '{pattern}'; give a pattern such as train-*.tar")
    return found


def _visible(folder: Path) -> list[Path]:
    return [path for path in folder.glob(_ALL) if not is_leftover(path.name)]


def _by_split(folder: Path, given: Sequence[Path]) -> tuple[list[Path], list[Path], list[str]]:
    """Return the training shards, the validation shards, and notes; test shards are kept apart.

    given: validation shards named in the config. Raises ConfigError.
    """
    found = [path for path in folder.glob("*/*.tar") if role_of(path.parent.name) and not is_leftover(path.name)]
    found = list({path.resolve(): path for path in sorted([*found, *_visible(folder)], reverse=True)}.values())
    if not found:
        _shards(folder, _ALL, "dataset.shards")
    roles = {path: _role(path.relative_to(folder)) for path in sorted(found) if path not in given}
    if not {"val", "test"} & set(roles.values()):
        return list(roles), [], []
    first = "train" if "train" in roles.values() else None
    train, val, test = ([path for path, role in roles.items() if role == wanted] for wanted in (first, "val", "test"))
    if not train:
        raise ConfigError(f"dataset.shards: '{folder}' holds no training shards, only those of val or test; name some")
    notes = [f"took {len(train)} shards for training, {len(given) or len(val)} for validation, by their names"]
    if test:
        notes.append(f"kept {len(test)} shards of a test split apart: neither trained nor validated on")
    if aside := len(roles) - len(train) - len(val) - len(test):
        notes.append(f"passed over {aside} shards that are named after no split")
    return train, val, notes


def _role(path: Path) -> Role | None:
    words = [*path.parent.parts, *re.split(r"[^A-Za-z]+", path.stem)]
    return next((role for word in words if (role := role_of(word))), None)


def read_index(path: Path, passed: Unread) -> Iterator[Sample]:
    """Yield the samples of a shard in order, reading only headers and labels. Raises ConfigError."""
    places: dict[str, tuple[int, int]] = {}
    labels: dict[str, str] = {}
    try:
        with tarfile.open(path, "r:") as shard:  # compressed shards cannot be read by position
            for member in shard:
                place = Path(member.name)
                if left := next(filter(is_leftover, place.parts), ""):
                    passed.leftover(left)
                    continue
                key, _, ending = place.name.partition(".")
                key = (place.parent / key).as_posix()
                if f".{ending.lower()}".endswith(EXTENSIONS):
                    places.setdefault(key, (member.offset_data, member.size))
                elif ending == "cls" and member.size <= 4 * _LONGEST_LABEL and (file := shard.extractfile(member)):
                    labels[key] = _label(file.read(), f"{path}: {member.name}")
            if not _has_end(path, shard.offset):
                passed.truncated.append(str(path))
    except (OSError, tarfile.TarError, ValueError) as error:  # ValueError: invalid numbers in headers
        problem = f"'{path}' is no plain tar file: {error}; unpack a compressed one"
        raise ConfigError(f"dataset.root: {problem}") from error
    passed.without_image += [f"{path}: {key}" for key in labels if key not in places]
    for key, (offset, size) in places.items():
        if key in labels:
            yield Sample(path, offset, size, key, labels[key])
        else:
            passed.unlabelled.append(f"{path}: {key}")


def _has_end(path: Path, offset: int) -> bool:
    """Return True if a tar file has a closing block of zeros after its last file."""
    with open(path, "rb") as file:
        file.seek(max(offset - tarfile.BLOCKSIZE, 0))
        return tarfile.NUL * tarfile.BLOCKSIZE in (file.read(tarfile.BLOCKSIZE), file.read(tarfile.BLOCKSIZE))


def _label(content: bytes, place: str) -> str:
    """Return the content of a .cls file, a number without leading zeros. Raises ConfigError."""
    text = content.decode("utf-8", "replace").strip()
    if not text or len(text) > _LONGEST_LABEL:
        problem = f"'{place}' holds {len(text):,} characters, no number or word of a class"
        raise ConfigError(f"dataset.root: {problem}; write the class into it")
    return str(int(text)) if text.isdecimal() else text


def _names(samples: list[Sample]) -> list[str]:
    """Return the classes: the sorted numbers or names that occur."""
    labels = {sample.label for sample in samples}
    return sorted(labels, key=int) if all(map(str.isdecimal, labels)) else sorted(labels)


class ShardImages(ImageDataset):
    """Encoded images in tar files, read by their position."""

    def __init__(self, root: Path, samples: list[Sample], names: list[str]) -> None:
        self.root, self.class_names = root, tuple(names)
        shards = sorted({sample.shard for sample in samples})
        number = {path: place for place, path in enumerate(shards)}
        self._shards = np.array([str(path) for path in shards])
        self._places = np.array(
            [(number[sample.shard], sample.offset, sample.size) for sample in samples], dtype=np.int64
        )
        self._keys = np.array([sample.key for sample in samples])
        by_name = {name: place for place, name in enumerate(names) if names.count(name) == 1}
        by_name |= {str(place): place for place in range(len(names)) if str(place) not in by_name}
        if unknown := sorted({sample.label for sample in samples} - by_name.keys()):
            shown = ", ".join(names[:8])
            raise ConfigError(f"dataset.classes: a .cls file says '{unknown[0]}', which is none of {shown}")
        self.targets = np.array([by_name[sample.label] for sample in samples], dtype=np.int64)

    def sample_name(self, index: int) -> str:
        shard = Path(str(self._shards[self._places[index, 0]]))
        return f"{shard.relative_to(self.root).as_posix()}/{self._keys[index]}"

    def location(self, index: int) -> str:
        return f"{self._shards[self._places[index, 0]]}: {self._keys[index]}"

    def encoded(self, index: int) -> bytes:
        shard, offset, size = self._places[index].tolist()
        try:
            with open(str(self._shards[shard]), "rb") as file:
                file.seek(offset)
                return file.read(size)
        except OSError as error:
            raise BadImage(self.location(index), error.strerror or str(error)) from error
