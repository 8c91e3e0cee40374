"""Damaged and odd copies of a file, the same for a seed: bytes changed, values of a JSON or YAML file replaced."""

import copy
import json
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml

from expkit.core.errors import ConfigError

ODD: list[Any] = [
    None, True, False, 0, -1, 1, 10**9, -(10**18), 2**63, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf"),
    "", "x", "../../x", "/etc/passwd", "\x00", "\x1b[2J", "é" * 300, "\ud800", "9" * 5000, "59:59:59", "null", "???",
    "${oc.env:HOME}", "2024-13-45", [], {}, [[]], [None], {"": None}, [1, "a", {}], {"name": {}}, [0] * 50,
    {"_target_": "os.system"}, {"$tensor": "x"}, {"$items": [[[], 1]]},
]  # fmt: skip
PARTS = [
    b"", b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"[" * 3000, b'{"a":' * 3000, b"9" * 5000, b": ", b"\n---\n", b"&a *a",
    b"!!python/object/apply:os.system ", b"NaN", b"1e999", b"\xef\xbb\xbf", b"\r", b"\t", b'"', b"]", b"}", b",", b"=",
    b"59:" * 300 + b"59.5", b"{{", b"? ", b"\xc2\x85", b"<<: ",
]  # fmt: skip


def mutations(content: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """Yield so many changed copies: every second one still is JSON, lines of JSON or YAML, where the content is."""
    chance = random.Random(seed)
    trees = _trees(content)
    comments = b"".join(takewhile(lambda line: line.startswith(b"#"), content.splitlines(keepends=True)))
    for number in range(count):
        if trees and number % 2:
            changed, place = [*trees], chance.randrange(len(trees))
            changed[place] = with_odd_values(trees[place], chance)
            yield comments + b"\n".join(
                json.dumps(one, default=str).encode("utf-8", "surrogatepass") for one in changed
            )
        else:
            yield with_odd_bytes(content, chance)


def _trees(content: bytes) -> list[Any]:
    """Return the value of a JSON or YAML file, the values of a file of lines of JSON, [] for any other file."""
    with suppress(ValueError):
        return [json.loads(content)]
    with suppress(ValueError):
        return [json.loads(line) for line in content.splitlines()]
    with suppress(ValueError, yaml.YAMLError):
        tree = yaml.safe_load(content)
        return [tree] if isinstance(tree, dict | list) else []
    return []


def with_odd_bytes(content: bytes, chance: random.Random) -> bytes:
    """Return the content with one to three parts cut out, exchanged or put in."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 3)):
        start = chance.randrange(len(data) + 1)
        end = min(len(data), start + chance.choice([0, 0, 1, 1, 8, 200]))
        way = chance.randrange(4)
        if way == 0:
            data[start:end] = chance.choice(PARTS)
        elif way == 1:
            data[start:end] = chance.randbytes(end - start)
        elif way == 2:
            data[start:end] = bytes(data[chance.randrange(len(data) + 1) :][: chance.randint(1, 40)])
        else:
            del data[start:]
    return bytes(data)


def with_odd_values(tree: Any, chance: random.Random) -> Any:
    """Return a JSON value of which one to three parts are other ones, are gone, or have another name."""
    tree = copy.deepcopy(tree)
    for _ in range(chance.randint(1, 3)):
        holder, key = chance.choice(_places(tree) or [([tree], 0)])
        way = chance.randrange(6)
        if way == 0 and isinstance(holder, dict):
            del holder[key]
        elif way == 1 and isinstance(holder, dict):
            holder[chance.choice(["", "x", "name", "$tensor", key * 2])] = holder.pop(key)
        elif way == 2 and isinstance(holder[key], list) and holder[key]:
            holder[key] *= 2
        else:
            holder[key] = copy.deepcopy(chance.choice(ODD))
    return tree


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Return (container, key) of every value within, at most some from each list."""
    found: list[tuple[Any, Any]] = []
    waiting = [tree]
    while waiting:
        one = waiting.pop()
        keys: Any = list(one) if isinstance(one, dict) else range(min(len(one), 8)) if isinstance(one, list) else ()
        found += [(one, key) for key in keys]
        waiting += [one[key] for key in keys]
    return found


def tried(read: Callable[[], object], content: bytes, path: Path) -> None:
    """Read; a refusal must be a sentence of bounded length."""
    path.write_bytes(content)
    try:
        read()
    except ConfigError as error:
        length = len(str(error)) / max(len(error.faults), 1)
        if not 0 < length <= 2_000:
            raise AssertionError(f"a message of {length} characters for {path}") from error
    except BaseException as error:
        raise AssertionError(f"{type(error).__name__} for {content[:3000]!r}") from error
