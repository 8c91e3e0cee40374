"""Texts of a user's YAML file as they were written: `classes: [yes, no]` are two texts where an option takes texts."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf, flag_override
from omegaconf._utils import get_yaml_loader

from expkit.config.registry import GROUPS
from expkit.config.texts import Typed, meant


def restore_texts(config: Any, text: str, group: str) -> None:
    """Restore the texts that YAML read as something else, where the option takes nothing but text.

    text: the file; group: the group that it is a choice of, "" for a file at the config's top.
    """
    node = yaml.compose(text, Loader=get_yaml_loader())
    if not isinstance(node, yaml.MappingNode) or not isinstance(config, DictConfig):
        return
    values = OmegaConf.to_container(config)
    for keys, one in _options(_typed(node, values), group):
        path = ".".join((group, *keys) if group else keys)
        if not _is_plain_text(one) and repr(value := meant(path, one)) != repr(one.value):
            parent = config
            for key in keys[:-1]:
                parent = parent[key]
            with flag_override(config, ["struct", "readonly"], False):
                parent[keys[-1]] = value


def _options(typed: Typed, group: str, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Typed]]:
    """Yield the options in a file, each with its keys from the file's top."""
    for key, item in zip(typed.keys, typed.items, strict=True):
        name = str(key.value)
        inner = group or (keys[0] if keys else "")
        is_of_logger = inner == "logger" and len(keys) < (1 if group else 2)
        if isinstance(item.value, Mapping) and ((not group and not keys and name in GROUPS) or is_of_logger):
            yield from _options(item, group, (*keys, name))
        elif inner or name not in (*GROUPS, "hydra", "defaults"):
            yield (*keys, name), item


def _is_plain_text(typed: Typed) -> bool:
    """Return True if a value is as it was written, whatever the option takes."""
    if typed.items:
        return all(map(_is_plain_text, (*typed.items, *typed.keys)))
    return typed.value is None or isinstance(typed.value, str)


def _typed(node: yaml.Node, value: Any) -> Typed:
    if isinstance(node, yaml.ScalarNode):
        return Typed(value, node.value)
    if isinstance(node, yaml.SequenceNode) and isinstance(value, list) and len(value) == len(node.value):
        return Typed(value, None, [_typed(*pair) for pair in zip(node.value, value, strict=True)])
    if isinstance(node, yaml.MappingNode) and isinstance(value, dict) and len(value) == len(node.value):
        items = [_typed(one, item) for (_, one), item in zip(node.value, value.values(), strict=True)]
        return Typed(value, None, items, [_typed(key, name) for (key, _), name in zip(node.value, value, strict=True)])
    return Typed(value)  # with keys merged from elsewhere
