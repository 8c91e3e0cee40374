"""Secrets in plain values: dicts, lists, texts and numbers, as configs and JSON, YAML and TOML files hold them."""

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import yaml

from expkit.config.redaction.names import Level, level_of
from expkit.config.redaction.values import SECRET, is_secret
from expkit.config.yaml_safety import LOADER

# `{name: DB_PASSWORD, value: …}`: which keys hold the name, and which the value that it belongs to.
_NAMES = ("name", "key", "alias", "env", "header", "field", "option", "variable")
_VALUES = ("value", "default", "content", "data")


def redact_value(value: Any, clean: Callable[[str], str], key: str = "") -> Any:
    """Return a plain value without secrets.

    clean: of a text that is not secret as a whole; key: the name that the value belongs to.
    """
    return _redacted(value, clean, key, level_of(key))


def _redacted(value: Any, clean: Callable[[str], str], key: str, level: Level) -> Any:
    if isinstance(value, Mapping):
        return {name: _redacted(value[name], clean, below, one) for name, below, one in _keys(value, key)}
    if isinstance(value, list | tuple):
        return [_redacted(one, clean, key, max(level, also)) for one, also in _items(value)]
    if _is_hidden(value, level):
        return SECRET
    return clean(value) if isinstance(value, str) else value


def secret_values(value: Any) -> Iterator[str]:
    """Yield the texts of a plain value that are secret by their names, each object once."""
    seen: set[int] = set()  # aliases of YAML may lead to one list a million times

    def found(value: Any, key: str, level: Level) -> Iterator[str]:
        if isinstance(value, Mapping | list | tuple):
            if id(value) in seen:
                return
            seen.add(id(value))
        if isinstance(value, Mapping):
            for name, below, one in _keys(value, key):
                yield from found(value[name], below, one)
        elif isinstance(value, list | tuple):
            for one, also in _items(value):
                yield from found(one, key, max(level, also))
        elif _is_hidden(value, level):
            yield str(value)

    yield from found(value, "", Level.NONE)


def _is_hidden(value: Any, level: Level) -> bool:
    if isinstance(value, str):
        return is_secret(value, level)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and level == Level.CERTAIN and abs(value) >= 1000


def _keys(value: Mapping[Any, Any], key: str) -> Iterator[tuple[Any, str, Level]]:
    """Yield (key, its name with that of a secret above it, level)."""
    beside = max((level_of(value[name]) for name in _NAMES if isinstance(value.get(name), str)), default=Level.NONE)
    for name in value:
        below = f"{key}.{name}" if level_of(key) else str(name)
        yield name, below, max(level_of(below), beside if name in _VALUES else Level.NONE)


def _items(values: Sequence[Any]) -> Iterator[tuple[Any, Level]]:
    """Yield (item, level by the item before it): [--password, …], and pairs such as [X-Api-Key, …]."""
    before = ""
    for value in values:
        is_option = before.startswith("-")
        level = level_of(before) if is_option or len(values) == 2 else Level.NONE
        yield value, level if is_option else min(level, Level.LIKELY)
        before = value if isinstance(value, str) else ""


def without_secret_values(name: str, text: str) -> str:
    """Return the text of a JSON, YAML or TOML file without the values that its structure says are secret."""
    try:
        found = set(secret_values(list(_parsed(name, text))))
    except (ValueError, RecursionError, yaml.YAMLError):
        return text  # it is still searched line by line
    for value in sorted(found, key=len, reverse=True):
        for form in {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}:
            if form.strip() and "\n" not in form:
                text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", lambda _: SECRET, text)
    return text


def _parsed(name: str, text: str) -> Iterator[Any]:
    if name.endswith((".yaml", ".yml")):
        yield from yaml.load_all(text, LOADER)
    elif name.endswith(".json"):
        yield json.loads(text)
    elif name.endswith(".toml"):
        yield tomllib.loads(text)
