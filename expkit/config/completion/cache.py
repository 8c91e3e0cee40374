"""The registry's words and their options, kept between two TABs: to import what registers them takes seconds."""

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import distributions
from pathlib import Path

import expkit.config.registry
from expkit.config.plugin_scan import words_of
from expkit.config.registry import GROUPS, Registry
from expkit.config.signature import choices
from expkit.core.files import write_text
from expkit.core.user_folders import cache_folder

Vocabulary = dict[str, dict[str, dict[str, list[str]]]]  # group -> word -> option -> the values it may have, if few

_PACKAGE = Path(__file__).parents[2]


def vocabulary(plugins: Iterable[str] = ()) -> Vocabulary:
    """Return all words, and those of plugin files, which are read and not run."""
    known = _kept() or _collected()
    groups = {name: one.group for name, one in vars(expkit.config.registry).items() if isinstance(one, Registry)}
    for file in plugins:
        for word in words_of(Path(file)):
            group = groups.get(word.registry, "")
            if group in known:
                hidden = expkit.config.registry.GROUPS[group].runtime
                own = {name: values for name, values in word.options.items() if name not in hidden}
                shared = known[group].get("", {})
                known[group][word.name] = {**shared, **own}
    return known


def _collected() -> Vocabulary:
    """Ask the registries, and keep the answer. Under the word "" stand the options that a whole group shares."""
    known: Vocabulary = {}
    for group, registry in GROUPS.items():
        known[group] = {name: _values(registry, name) for name in registry.names()}
        every = [set(options) for options in known[group].values()]
        shared = set.intersection(*every) if every else set()
        some = next(iter(known[group].values()), {})
        known[group][""] = {name: values for name, values in some.items() if name in shared}
    with suppress(OSError):  # then it is asked again the next time
        path = _file()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(known))
    return known


def _values(registry: Registry, name: str) -> dict[str, list[str]]:
    return {key: choices(option.annotation) for key, option in registry.options(name).items()}


def _kept() -> Vocabulary | None:
    try:
        kept: Vocabulary = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return kept if _is_vocabulary(kept, 3) else None


def _is_vocabulary(found: object, depth: int) -> bool:
    """Return True for mappings in mappings, so many deep, of lists of words."""
    if depth < 0:
        return isinstance(found, list) and all(isinstance(word, str) for word in found)
    return isinstance(found, dict) and all(_is_vocabulary(one, depth - 1) for one in found.values())


def _file() -> Path:
    """Return where the words of these very sources and packages are kept."""
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(_PACKAGE.rglob("*.py")):
        digest.update(f"{path} {path.stat().st_mtime_ns}".encode())
    for package in sorted(f"{one.name} {one.version}" for one in distributions()):
        digest.update(package.encode())
    return cache_folder() / "words" / f"{digest.hexdigest()}.json"
