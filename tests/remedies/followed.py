"""Following a remedy: overrides that are typed in place of others, or what is done by hand in a folder."""

import functools
import re
import shlex
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from expkit.config.compose import compose_one
from expkit.config.hydra_loader import to_plain
from expkit.config.registry import datasets
from expkit.config.yaml_safety import parse_value
from expkit.core.errors import ConfigError

ROOT = Path(__file__).parents[2]
BY_HAND = "$ "  # begins what is done in a shell; what begins with - is left out; all else is typed


def key_of(word: str) -> str:
    return word.lstrip("+").partition("=")[0]


def retyped(typed: Sequence[str], then: str, message: str) -> list[str]:
    """Return a command line with the remedy in it, after looking whether the message tells it."""
    words = shlex.split(then)
    told = [word for word in words if word in message or key_of(word).lstrip("-") in message]
    assert words[:1] == told[:1], f"{words[0]} is not told: {message}"  # others may be needed beside it
    keys = {key_of(word).lstrip("-") for word in words}
    return [word for word in typed if key_of(word) not in keys] + [word for word in words if not word.startswith("-")]


def follow(typed: Sequence[str], then: str, message: str, folder: Path) -> list[str]:
    """Do by hand what a message says, or return the command line that it says."""
    if then.startswith(BY_HAND):
        subprocess.run(["sh", "-ec", then.removeprefix(BY_HAND)], cwd=folder, check=True)
        return [*typed]
    return retyped(typed, then, message)


@functools.cache
def _choice(group: str, choice: str) -> dict[str, Any]:
    return dict(to_plain(compose_one([f"{group}={choice}"]))[group])


def node_of(words: Sequence[str], group: str = "dataset") -> dict[str, Any]:
    """Return a group's part of the config, as a command line composes it; each choice is composed once."""
    given = {word.partition("=")[0]: word.partition("=")[2] for word in words}
    node = dict(_choice(group, given.pop(group)))
    for key, text in given.items():
        where, _, option = key.lstrip("+").partition(".")
        assert where == group, key
        assert (option in node) != key.startswith("+"), f"{key}: Hydra would refuse it"
        node[option] = parse_value(text, key)
    return {key: value for key, value in node.items() if value != "???"}


def checked(words: Sequence[str]) -> dict[str, Any]:
    """Return a dataset's part of the config. Raises ConfigError."""
    node = node_of(words)
    if faults := datasets.faults(node):
        raise ConfigError(*faults)
    return node


def extras_named(message: str) -> list[str]:
    """Return the extras that a message says to install; each must be one."""
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    found = re.findall(r"expkit\[(\w+)\]", message)
    assert found, message
    assert set(found) <= known.keys(), message
    return list(found)
