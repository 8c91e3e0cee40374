"""The images named on a command line: files, folders, patterns, and a list on standard input."""

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
    arguments: Sequence[str], listed: Iterable[str] = (), report: Callable[[str], None] = lambda note: None
) -> list[str]:
    """Return the paths of all images that the arguments name, each once, in order. Raises ConfigError.

    arguments: a file, a folder (searched recursively), a pattern such as `photos/**/*.jpg`, or `-` for `listed`, one
    path per line, which need not exist. report: called with a sentence on each kind of skipped file.
    """
    found: dict[str, None] = {}
    skipped = PassedOver()
    for argument in arguments:
        paths = filter(None, (line.rstrip("\r\n") for line in listed)) if argument == "-" else _named(argument, skipped)
        found |= dict.fromkeys(paths)
    for note in skipped.notes():
        report(note)
    if not found:
        raise ConfigError("images: none given; name files, folders or patterns, or `-` for a list on standard input")
    return list(found)


def _named(argument: str, skipped: PassedOver) -> list[str]:
    path = expanded(argument)
    if path.is_dir():
        if not (inside := _inside(path, skipped)):
            raise nothing_found(path, "images", skipped)
        return inside
    if path.exists():
        return [str(path)]
    matches = sorted(glob.glob(str(path), recursive=True)) if glob.has_magic(argument) else []
    matches = _of_images(_without_links_to_others(matches), path, skipped)
    if not matches:
        what = "nothing matches the pattern" if glob.has_magic(argument) else "there is no file or folder"
        raise ConfigError(f"images: {what} '{argument}' (looked in {Path.cwd()})")
    return [name for match in matches for name in ([match] if os.path.isfile(match) else _inside(Path(match), skipped))]


def _without_links_to_others(matches: list[str]) -> list[str]:
    """Return each real file once, by its name without links: `**` follows a link to a parent again and again."""
    by_file: dict[str, str] = {}
    for match in sorted(matches, key=lambda match: (len(Path(match).parts), match)):
        real = os.path.realpath(match)
        if real not in by_file or os.path.abspath(match) == real:
            by_file[real] = match
    return sorted(by_file.values())


def _of_images(matches: list[str], pattern: Path, skipped: PassedOver) -> list[str]:
    """Return the matches without leftovers of other programs, and, if there are images, without other files."""
    folders = {match for match in matches if os.path.isdir(match)}
    kept = []
    for match in matches:
        left = next((part for part in Path(match).parts if part not in pattern.parts and is_leftover(part)), "")
        if not left:
            kept.append(match)
        elif folders.isdisjoint(map(str, Path(match).parents)):  # else it is counted with the folder
            skipped.leftover(left)
    wanted = [match for match in kept if match in folders or is_image(match)]
    if not wanted:
        return kept  # as requested
    for match in set(kept) - set(wanted):
        if folders.isdisjoint(map(str, Path(match).parents)):
            skipped.file(match)
    return wanted


def _inside(folder: Path, skipped: PassedOver) -> list[str]:
    """Return the paths of all images below a folder, sorted."""
    tree = image_tree(folder)
    skipped.add(tree.passed)
    return [str(folder / name) for name in sorted(tree.paths)]


def path_images(paths: Sequence[str], classes: Sequence[str], decoder: Decoder | None = None) -> ImageFiles:
    """Return a dataset of image files with unknown classes: all targets are 0. decoder: the model's."""
    images = ImageFiles(Path(), paths, repeat(0, len(paths)), classes)
    images.decode_with(decoder or Decoder())
    return images
