"""The images that a command line names: files, folders, patterns, and a list on standard input."""

import glob
import os
from collections.abc import Iterable, Sequence
from itertools import repeat
from pathlib import Path

from expkit.data.datasets.files import ImageFiles, image_paths, nothing_found
from expkit.data.decode import Decoder
from expkit.registry import ConfigError
from expkit.user_folders import expanded


def collect_images(words: Sequence[str], listed: Iterable[str] = ()) -> list[str]:
    """Return the paths of all images that the words name, each once, in their order. Raises ConfigError.

    words: a file, a folder (searched through to the bottom), a pattern such as `photos/**/*.jpg`, or `-` for `listed`,
    one path a line; what such a list names is taken as it is, and told of as a bad file where it is not there.
    """
    found: dict[str, None] = {}
    for word in words:
        paths = _lines(listed) if word == "-" else _named(word)
        found |= dict.fromkeys(paths)
    if not found:
        raise ConfigError("images: none given; name files, folders or patterns, or `-` for a list on standard input")
    return list(found)


def _lines(listed: Iterable[str]) -> list[str]:
    return [line for line in (line.rstrip("\r\n") for line in listed) if line]


def _named(word: str) -> list[str]:
    path = expanded(word)
    if path.is_dir():
        if not (inside := image_paths(path)):
            raise nothing_found(path, "images")
        return [str(path / name) for name in inside]
    if path.exists():
        return [str(path)]
    matches = sorted(glob.glob(str(path), recursive=True)) if glob.has_magic(word) else []
    matches = _without_links_to_others(matches)
    if not matches:
        what = "nothing matches the pattern" if glob.has_magic(word) else "there is no file or folder"
        raise ConfigError(f"images: {what} '{word}' (looked in {Path.cwd()})")
    return [name for match in matches for name in _matched(Path(match))]


def _without_links_to_others(matches: list[str]) -> list[str]:
    """Return each real file once, by the name without links: `**` follows one that leads upwards again and again."""
    by_file: dict[str, str] = {}
    for match in sorted(matches, key=lambda match: (len(Path(match).parts), match)):
        real = os.path.realpath(match)
        if real not in by_file or os.path.abspath(match) == real:
            by_file[real] = match
    return sorted(by_file.values())


def _matched(path: Path) -> list[str]:
    return [str(path / name) for name in image_paths(path)] if path.is_dir() else [str(path)]


def path_images(paths: Sequence[str], classes: Sequence[str], decoder: Decoder | None = None) -> ImageFiles:
    """Return a dataset of image files whose classes nobody knows: all targets are 0. decoder: the model's."""
    images = ImageFiles(Path(), paths, repeat(0, len(paths)), classes)
    images.decode_with(decoder or Decoder())
    return images
