"""What completion has asked for once, kept between two TABs: importing what knows it takes seconds."""

import hashlib
import json
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from expkit.config.conf_folder import conf_folder
from expkit.config.plugin_scan import names_in
from expkit.core.files import write_text
from expkit.core.user_folders import cache_folder

Vocabulary = dict[str, dict[str, dict[str, list[str]]]]  # group -> name -> option -> the values it may have, if few

_PACKAGE = Path(__file__).parents[2]


def vocabulary(plugins: Iterable[str] = ()) -> Vocabulary:
    """Return all registered names, and those of plugin files, which are read and not run."""
    known: Any = kept("names", ())
    if not _is_vocabulary(known):
        keep("names", (), known := _collected())
    names: Vocabulary = known
    for file in plugins:
        _add_plugin(names, Path(file))
    return names


def _add_plugin(known: Vocabulary, file: Path) -> None:
    from expkit.config import registry

    groups = {name: one for name, one in vars(registry).items() if isinstance(one, registry.Registry)}
    for word in names_in(file):
        group = groups.get(word.registry)
        if group and group.group in known:
            names = known[group.group]
            own = {name: values for name, values in word.options.items() if name not in group.runtime}
            names[word.name] = {**names.get("", {}), **own}


def _collected() -> Vocabulary:
    """Ask the registries, which imports torch. Under the name "" stand the options that a whole group shares."""
    from expkit.config.registry import GROUPS
    from expkit.config.signature import choices

    known: Vocabulary = {}
    for group, registry in GROUPS.items():
        every = {
            name: {key: choices(option.annotation) for key, option in registry.options(name).items()}
            for name in registry.names()
        }
        shared = set.intersection(*map(set, every.values())) if every else set()
        some = next(iter(every.values()), {})
        known[group] = every | {"": {name: values for name, values in some.items() if name in shared}}
    return known


def _is_vocabulary(found: Any, depth: int = 3) -> bool:
    """Return True for mappings in mappings, so many deep, of lists of texts."""
    if depth == 0:
        return isinstance(found, list) and all(isinstance(value, str) for value in found)
    return isinstance(found, dict) and all(_is_vocabulary(one, depth - 1) for one in found.values())


def kept(kind: str, words: Iterable[str]) -> Any:
    """Return what was kept for these words by these sources, or None."""
    try:
        return json.loads(_file(kind, words).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def keep(kind: str, words: Iterable[str], value: Any) -> None:
    """Keep a value of plain dicts and lists, where that can be done."""
    with suppress(OSError):  # then it is asked again the next time
        path = _file(kind, words)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(value, default=str))


def _file(kind: str, words: Iterable[str]) -> Path:
    """Return where the answer of these very sources and packages is kept."""
    digest = hashlib.blake2b("\0".join([*_installed(), *words]).encode(errors="replace"), digest_size=8)
    return cache_folder() / "completion" / f"{kind}-{digest.hexdigest()}.json"


@cache
def _installed() -> list[str]:
    """Return each source of expkit and each folder of packages with its time of change."""
    folders = [Path(place) for place in sys.path if place.endswith(("site-packages", "dist-packages"))]
    return [*_times(folders), *_times(_found(_PACKAGE, ".py"))]


def config_files() -> list[str]:
    """Return each file of the package's conf and of ./conf with its time of change."""
    return _times([*_found(conf_folder(), ".yaml"), *_found(Path("conf").absolute(), ".yaml")])


def _found(folder: Path, suffix: str) -> list[Path]:
    walked = os.walk(folder)
    return [Path(place, name) for place, _, names in walked for name in names if name.endswith(suffix)]


def _times(paths: Iterable[Path]) -> list[str]:
    found = []
    for path in sorted(paths):
        with suppress(OSError):
            found.append(f"{path} {path.stat().st_mtime_ns}")
    return found
