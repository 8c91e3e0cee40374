"""What a config may write in `${...}`: the path of another value, and nothing that runs, reads or grows endlessly."""

import re
from typing import Any

from expkit.core.errors import ConfigError

MOST_NODES = 50_000  # values once every reference is written out; 100 characters of a text count as one more
LONGEST_CHAIN = 200  # references that lead to references, and the levels between them

_REFERENCE = re.compile(r"\$\{\s*([\w.\-\[\]]+)\s*\}")
_CLOCK = re.compile(r"\$\{now:[%\w\-:. ]*\}")

Path = tuple[str, ...]


def asks_a_resolver(text: str, clock: bool = False) -> bool:
    """Return True if a text holds more than plain references `${a.b}`: a resolver such as oc.env, or a nested one.

    clock: allow `${now:FORMAT}` too.
    """
    rest = _REFERENCE.sub("", text)
    return "${" in (_CLOCK.sub("", rest) if clock else rest)


def refuse_growth(tree: dict[str, Any]) -> None:
    """Raise ConfigError where references lead in a circle, or multiply until the config would fill the memory."""
    _Expansion(tree).nodes(tree, ())


class _Expansion:
    """Counts what a tree would hold with every reference written out, without writing any."""

    def __init__(self, tree: dict[str, Any]) -> None:
        self.tree = tree
        self.known: dict[Path, int] = {}
        self.open: dict[Path, None] = {}

    def nodes(self, node: Any, path: Path) -> int:
        """Return the number of values at and under a node."""
        if path in self.known:
            return self.known[path]
        name = ".".join(path)
        if path in self.open:
            raise ConfigError(f"{name}: its reference leads back to itself; write the value out")
        if len(self.open) > LONGEST_CHAIN:
            raise ConfigError(f"{name}: more than {LONGEST_CHAIN} references lead from one to the next; write it out")
        self.open[path] = None
        count = 1 + sum(self.nodes(child, place) for child, place in self._below(node, path))
        count += len(node) // 100 if isinstance(node, str) else 0
        del self.open[path]
        if count > MOST_NODES:
            raise ConfigError(f"{name or 'config'}: grows beyond {MOST_NODES:,} values; use fewer references")
        self.known[path] = count
        return count

    def _below(self, node: Any, path: Path) -> list[tuple[Any, Path]]:
        """Return the children of a node, or what the references in a text stand for."""
        if isinstance(node, dict):
            return [(child, (*path, str(key))) for key, child in node.items()]
        if isinstance(node, list):
            return [(child, (*path, str(index))) for index, child in enumerate(node)]
        if not isinstance(node, str) or "${" not in node:
            return []
        targets = [_target(reference, path) for reference in _REFERENCE.findall(node)]
        return [(self._at(target), target) for target in targets]

    def _at(self, path: Path) -> Any:
        """Return the node at a path, or None where there is none: OmegaConf reports that fault itself."""
        node: Any = self.tree
        for word in path:
            if isinstance(node, list) and word.isdecimal() and int(word) < len(node):
                node = node[int(word)]
            elif isinstance(node, dict):
                node = next((child for key, child in node.items() if str(key) == word), None)
            else:
                return None
        return node


def _target(reference: str, path: Path) -> Path:
    """Return where a reference leads: from the root, or with leading dots from the place where it stands."""
    below = reference.lstrip(".")
    dots = len(reference) - len(below)
    words = tuple(word for word in re.split(r"[.\[\]]+", below) if word)
    return (*path[: max(len(path) - dots, 0)], *words) if dots else words
