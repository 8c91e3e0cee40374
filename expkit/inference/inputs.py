"""The images that a command line names: files, folders, patterns, and a list on standard input."""

import glob
import os
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from pathlib import Path

from expkit.core.errors import ConfigError
from expkit.core.user_folders import expanded
from expkit.data.datasets.image_files import ImageFiles, image_tree, is_image, nothing_found
from expkit.data.datasets.leftovers import PassedOver, is_leftover
from expkit.data.decode import Decoder


def collect_images(
    words: Sequence[str], listed: Iterable[str] = (), say: Callable[[str], None] = lambda note: None
) -> list[str]:
    """Return the paths of all images that the words name, each once, in their order. Raises ConfigError.

    words: a file, a folder (searched through to the bottom), a pattern such as `photos/**/*.jpg`, or `-` for `listed`,
    one path a line; what such a list names is taken as it is, and told of as a bad file where it is not there.
    say: takes a sentence on what lies in the folders and was passed over.
    """
    found: dict[str, None] = {}
    passed = PassedOver()
    for word in words:
        paths = _lines(listed) if word == "-" else _named(word, passed)
        found |= dict.fromkeys(paths)
    for note in passed.notes():
        say(note)
    if not found:
        raise ConfigError("images: none given; name files, folders or patterns, or `-` for a list on standard input")
    return list(found)


def _lines(listed: Iterable[str]) -> list[str]:
    return [line for line in (line.rstrip("\r\n") for line in listed) if line]


def _named(word: str, passed: PassedOver) -> list[str]:
    path = expanded(word)
    if path.is_dir():
        if not (inside := _inside(path, passed)):
            raise nothing_found(path, "images", passed)
        return inside
    if path.exists():
        return [str(path)]
    matches = sorted(glob.glob(str(path), recursive=True)) if glob.has_magic(word) else []
    matches = _of_images(_without_links_to_others(matches), path, passed)
    if not matches:
        what = "nothing matches the pattern" if glob.has_magic(word) else "there is no file or folder"
        raise ConfigError(f"images: {what} '{word}' (looked in {Path.cwd()})")
    return [name for match in matches for name in ([match] if os.path.isfile(match) else _inside(Path(match), passed))]


def _without_links_to_others(matches: list[str]) -> list[str]:
    """Return each real file once, by the name without links: `**` follows one that leads upwards again and again."""
    by_file: dict[str, str] = {}
    for match in sorted(matches, key=lambda match: (len(Path(match).parts), match)):
        real = os.path.realpath(match)
        if real not in by_file or os.path.abspath(match) == real:
            by_file[real] = match
    return sorted(by_file.values())


def _of_images(matches: list[str], pattern: Path, passed: PassedOver) -> list[str]:
    """Return the matches without leftovers of other programs, and without files of other kinds beside images."""
    folders = {match for match in matches if os.path.isdir(match)}
    kept = []
    for match in matches:
        left = next((part for part in Path(match).parts if part not in pattern.parts and is_leftover(part)), "")
        if not left:
            kept.append(match)
        elif folders.isdisjoint(map(str, Path(match).parents)):  # else it is counted with the folder
            passed.leftover(left)
    wanted = [match for match in kept if match in folders or is_image(match)]
    if not wanted:
        return kept  # that is what was asked for
    for match in set(kept) - set(wanted):
        if folders.isdisjoint(map(str, Path(match).parents)):
            passed.file(match)
    return wanted


def _inside(folder: Path, passed: PassedOver) -> list[str]:
    """Return the paths of all images below a folder, sorted."""
    tree = image_tree(folder)
    passed.add(tree.passed)
    return [str(folder / name) for name in sorted(tree.paths)]


def path_images(paths: Sequence[str], classes: Sequence[str], decoder: Decoder | None = None) -> ImageFiles:
    """Return a dataset of image files whose classes nobody knows: all targets are 0. decoder: the model's."""
    images = ImageFiles(Path(), paths, repeat(0, len(paths)), classes)
    images.decode_with(decoder or Decoder())
    return images
