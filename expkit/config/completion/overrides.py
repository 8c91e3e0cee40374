"""The overrides that may stand at the end of a list of overrides. Imports neither Hydra nor torch for what is kept."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from expkit.config.completion.cache import config_files, keep, kept, vocabulary

_VALUE = re.compile(r"\+?((?!hydra\.)\w+(?:\.\w+)*)=([\w.,/:+-]*)")  # a plain value, which chooses no file


def complete_override(
    overrides: Sequence[str], current: str, plugins: Sequence[str] = (), is_sweep: bool = False
) -> list[str]:
    """Return the overrides that begin with `current`, sorted.

    Args:
        overrides: those before it.
        current: what has been typed of one.
        plugins: plugin files, whose registered names are read from their text.
        is_sweep: whether the command line is that of a sweep.
    """
    sign = current[: len(current) - len(current.lstrip("+~"))]
    typed = current.removeprefix(sign)
    groups, config = _composed(overrides, is_sweep)
    key, equals, value = typed.partition("=")
    if equals:
        found = [*groups.get(key, [[], []])[0], *([] if value else _value_of(config, key))]
        found = [f"{key}={one}" for one in found]
    else:
        found = [*_groups(groups, typed, sign), *([] if sign == "+" else _keys(config, typed))]
    if "." in typed and (equals or sign == "+"):
        found += _registered(key, bool(equals), config, plugins)
    return sorted({f"{sign}{one}" for one in found if one.startswith(typed)})


def registered_names(asked: Sequence[str]) -> list[str]:
    """Return what may follow `--list`: a group, then one of its names."""
    if not asked:
        return list(vocabulary())
    return [name for name in vocabulary().get(asked[0], {}) if name] if len(asked) == 1 else []


def _composed(overrides: Sequence[str], is_sweep: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (group -> [choices, groups in it], the config of these overrides).

    Hydra is asked once for each choice of files; plain values are set in what it has composed.
    """
    files = config_files()
    folders = {Path(line.rpartition(" ")[0]).parent.name for line in files}
    values = [value for one in overrides if (value := _VALUE.fullmatch(one)) and value[1] not in folders]
    choosing = [one for one in overrides if one not in {value[0] for value in values}]
    words = [*files, *choosing, "-m" * is_sweep]
    found = kept("config", words)
    if not _is_composed(found):
        from expkit.config.completion.composed import compose

        found = compose(choosing, is_sweep)
        if found["config"] and not found["config"]["hydra"]["searchpath"]:  # files of other folders may change
            keep("config", words, found)
    config = found["config"] or {}
    for one in values:
        *parents, name = one[1].split(".")
        node = _node(config, parents)
        if isinstance(node, dict):
            node[name] = one[2]
    return found["groups"], config


def _is_composed(found: Any) -> bool:
    """Return True for what `compose` returns, with a config."""
    groups = found.get("groups") if isinstance(found, dict) else None
    if not isinstance(groups, dict) or not isinstance(found.get("config"), dict):
        return False
    return all(isinstance(pair, list) and list(map(type, pair)) == [list, list] for pair in groups.values())


def _node(config: Any, path: Sequence[str]) -> Any:
    for name in path:
        config = config.get(name) if isinstance(config, dict) else None
    return config


def _value_of(config: Any, key: str) -> list[str]:
    """Return the present value of a key, if it is a plain one."""
    value = _node(config, key.split("."))
    if value is None or isinstance(value, dict | list) or "${" in str(value):
        return []
    return [str(value).lower() if isinstance(value, bool) else str(value)]


def _groups(groups: dict[str, Any], typed: str, sign: str) -> list[str]:
    """Return `model=`, `hydra/` and the like."""
    parent = typed.rpartition("/")[0]
    found = []
    for name in groups.get(parent, [[], []])[1]:
        path = f"{parent}/{name}".lstrip("/")
        choices, inner = groups.get(path, [[], []])
        ending = "=" if choices and not inner and sign != "~" else "/" if inner and not choices else ""
        found.append(f"{path}{ending}")
    return found


def _keys(config: Any, typed: str) -> list[str]:
    """Return `epochs=`, `model.` and `model.width=`; a list is given whole."""
    *parents, _ = typed.split(".")
    node = _node(config, parents)
    prefix = "".join(f"{name}." for name in parents)
    items = node.items() if isinstance(node, dict) else ()
    return [f"{prefix}{key}{'.' if isinstance(value, dict) else '='}" for key, value in items]


def _registered(key: str, has_value: bool, config: Any, plugins: Sequence[str]) -> list[str]:
    """Return what the registry knows of `model.name=`, `model.freeze=` or, to be added, `model.`."""
    group, _, option = key.partition(".")
    node = config.get(group) or {}
    known = vocabulary(plugins).get(group)
    if known is None or not isinstance(node, dict):
        return []
    if has_value and option == "name":
        return [f"{key}={name}" for name in known if name]
    options = known.get(str(node.get("name")), {})
    if has_value:
        return [f"{key}={value}" for value in options.get(option, [])]
    return [f"{group}.{one}=" for one in options if one not in node]
