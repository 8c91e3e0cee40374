"""The dataset of someone else's config: it may read where it says, and writes only below the output folder."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from expkit.config.redaction.redactor import ELSEWHERE
from expkit.core.errors import ConfigError
from expkit.core.escaping import as_override
from expkit.core.user_folders import expanded

DATA = Path("outputs/data")
CACHE = Path("outputs/cache")


def confined(node: Mapping[str, Any], typed: Collection[str] = ()) -> tuple[dict[str, Any], list[str]]:
    """Return a dataset node that draws, downloads and caches below outputs/, and notes on what was changed for it.

    typed: keys that the user has given, whose paths are kept. Data that are where the node says are read there.
    Raises ConfigError where reading them would unpack archives.
    """
    made = dict(node)
    notes: list[str] = []
    if "cache_dir" in made and "cache_dir" not in typed and not _is_below(made["cache_dir"], CACHE):
        made["cache_dir"] = str(CACHE)
    root = made.get("root")
    if not isinstance(root, str) or "root" in typed or _is_below(root, DATA):
        return made, notes
    if root.startswith(ELSEWHERE):
        return made, notes  # no path: whoever calls this asks for one
    if made.get("name") == "imagenet" and not _is_unpacked(expanded(root)):
        problem = f"dataset.root: ImageNet's archives in '{root}' would be unpacked there for a record"
        raise ConfigError(f"{problem}; give it yourself: {as_override('dataset.root', root)}")
    draws = made.get("name") == "shapes" and not _holds(expanded(root), made)
    downloads = bool(made.get("download"))
    if downloads and expanded(root).is_dir() and any(expanded(root).iterdir()):
        made["download"] = downloads = False  # what is there is read, and nothing is added
    if draws or downloads:
        made["root"] = str(DATA / str(made["name"]))
        verb = "drawn" if draws else "downloaded"
        notes.append(f"dataset.root: '{root}' comes from the record and is not written to; {verb} in {made['root']}")
    return made, notes


def _is_below(place: Any, folder: Path) -> bool:
    """Return True if a path is below a folder of the working directory, links followed."""
    if not isinstance(place, str):
        return False
    found, top = expanded(place).resolve(), folder.resolve()
    return found.is_relative_to(top) and (found != top or folder == CACHE)


def _is_unpacked(root: Path) -> bool:
    return not root.is_dir() or all((root / name).exists() for name in ("meta.bin", "train", "val"))


def _holds(root: Path, node: Mapping[str, Any]) -> bool:
    """Return True if the shapes of these very options are in root already."""
    try:
        kept = json.loads((root / "shapes.json").read_text())
        return all(node.get(key, value) == value for key, value in kept.items())
    except (OSError, ValueError, AttributeError, RecursionError):
        return False
