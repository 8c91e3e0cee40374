"""Checks a YAML file of a user, or of a stranger, before anything parses it; no objects are constructed."""

import copy
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

import yaml

from expkit.config.interpolation import asks_a_resolver
from expkit.core.errors import ConfigError
from expkit.core.escaping import shortened
from expkit.core.formatting import relative

LARGEST = 1_000_000  # bytes
DEEPEST = 32  # levels, with aliases written out
MOST_NODES = 20_000  # keys and values, with aliases written out
LONGEST_WORD = 4_000  # characters of an unquoted value: YAML tries to read it as a number, at the length's square

# What yaml raises, beside its own errors, for values that look like numbers or dates and are not.
NOT_PLAIN = (yaml.YAMLError, ValueError, OverflowError, TypeError, AttributeError, RecursionError)
_LONG_NUMBER = re.compile(r"[-+0-9_:.eExXoa-fA-F]{301,}")

_TAGS = {f"tag:yaml.org,2002:{word}" for word in ("str", "int", "float", "bool", "null", "map", "seq")}
# Safe, and in C ten times as fast.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

# Keys that act while Hydra still composes, so that no later check could stop them.
_COMMAND_LINE_ONLY = {
    "searchpath": "a file may not say where more files lie; give hydra.searchpath=… on the command line",
    "env_copy": "a config may not read the environment; pass the value on the command line",
}


def vet(path: Path, folder: Path) -> None:
    """Refuse a YAML file that leaves its conf folder, is no plain YAML, or would grow when parsed. Raises ConfigError.

    path: the file as it was asked for, links and `..` included; folder: the conf folder it must lie in.
    """
    shown, real = relative(path), path.resolve()
    if not real.is_relative_to(folder.resolve()):
        raise ConfigError(f"{shown}: leads out of its conf folder, to '{real}'; copy the file into the folder")
    if not real.is_file():
        raise ConfigError(f"{shown}: is not a regular file; a config is a YAML file")
    with real.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ConfigError(f"{shown}: is larger than {LARGEST:,} bytes; a config is a short text, lists belong in data")
    vet_text(content, shown)


def vet_text(content: bytes, shown: str) -> None:
    """Refuse the content of a YAML file that is no plain YAML, or would grow when parsed. Raises ConfigError."""
    try:
        _Scan(shown).read(content.decode())
    except UnicodeDecodeError as error:
        raise ConfigError(f"{shown}: is not UTF-8 text ({error.reason}); save it as UTF-8") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise ConfigError(f"{shown}, line {line}: is not YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{shown}: is not YAML: {' '.join(str(error).split())}") from error


def parse_vetted(content: bytes, shown: str) -> Any:
    """Return what the content of a YAML file holds, vetted. Raises ConfigError and nothing else."""
    vet_text(content, shown)
    try:
        return yaml.load(content, Loader=LOADER)
    except NOT_PLAIN as error:
        raise ConfigError(f"{shown}: is no plain YAML: {' '.join(str(error).split())}") from error


def parse_value(text: str, key: str) -> Any:
    """Return the value that a text is in YAML. Raises ConfigError. key: the option that it is given for."""
    try:
        _Scan(key).read(f"value: {text}" if text else "")
        return yaml.load(text, Loader=LOADER)
    except (ConfigError, *NOT_PLAIN) as error:
        raise ConfigError(f"{key}: {shortened(text, 100)!r} is no value: {' '.join(str(error).split())}") from error


def load_vetted(path: Path) -> Any:
    """Return what a config file holds, vetted. Raises ConfigError, OSError.

    Among a thousand runs, most parts of the configs are the same: each top-level part is vetted and parsed once.
    """
    if not path.is_file() or path.is_symlink() or path.stat().st_size > LARGEST:
        vet(path, path.parent)
    content = path.read_bytes()
    text = content.decode("utf-8", "surrogateescape")  # a part that is not UTF-8 is refused below
    parts = _PARTS.findall(text)
    if "".join(parts) == text and not _NOT_IN_PARTS.search(text):
        found = [_part(part) for part in parts]
        whole = {key: value for one in found if one for key, value in one.items()}
        if all(one is not None for one in found) and len(whole) == len(found):
            return copy.deepcopy(whole)
    return parse_vetted(content, relative(path))


# A part begins at the left edge, and continues with lines that are indented or continue its list.
_PARTS = re.compile(r"^[A-Za-z_].*\n(?:[ -].*\n)*", re.MULTILINE)
_NOT_IN_PARTS = re.compile(r"[&*]|^---|^%|\$\{", re.MULTILINE)  # what reaches from one part into another


@lru_cache(maxsize=4_000)
def _part(text: str) -> dict[str, Any] | None:
    """Return a part of a config that is a mapping of one key by itself, or None."""
    try:
        vet_text(text.encode(), "config")
        found = yaml.load(text, Loader=LOADER)
    except (ConfigError, *NOT_PLAIN):
        return None
    return found if isinstance(found, dict) and len(found) == 1 else None


@dataclass
class _Open:
    """A mapping or list that has begun: its keys so far, and what it holds with aliases written out."""

    is_mapping: bool
    anchor: str | None
    nodes_before: int
    height: int = 1
    children: int = 0
    keys: set[str] = field(default_factory=set)

    @property
    def wants_a_key(self) -> bool:
        return self.is_mapping and self.children % 2 == 0


class _Scan:
    """Reads a file's events, and raises ConfigError at the first that no config needs."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.line = 0
        self.open: list[_Open] = []
        self.nodes = 0
        self.documents = 0
        self.anchors: dict[str, tuple[int, int]] = {}  # name -> (nodes, height) of what it stands for

    def read(self, text: str) -> None:
        """Check every event of a text."""
        for event in yaml.parse(text, Loader=LOADER):
            self.line = event.start_mark.line + 1 if event.start_mark else 0
            if isinstance(event, yaml.DocumentStartEvent):
                self.documents += 1
                if self.documents > 1:
                    self._refuse("a second document begins; a config is one document")
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event.anchor)
            elif isinstance(event, yaml.ScalarEvent):
                self._scalar(event)
            elif isinstance(event, yaml.CollectionStartEvent):
                self._begin(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._end()

    def _refuse(self, fault: str) -> NoReturn:
        raise ConfigError(f"{self.path}, line {self.line}: {fault}")

    def _count(self, nodes: int, height: int) -> None:
        """Add the size of an event to the container that holds it."""
        self.nodes += nodes
        if self.nodes > MOST_NODES:
            self._refuse(f"holds more than {MOST_NODES:,} values, aliases written out; use fewer aliases")
        if len(self.open) + height > DEEPEST:
            self._refuse(f"is nested deeper than {DEEPEST} levels; a config is a few levels deep")
        if self.open:
            self.open[-1].children += 1
            self.open[-1].height = max(self.open[-1].height, height + 1)

    def _tag(self, tag: str | None) -> None:
        if tag is not None and tag not in _TAGS:
            short = tag.replace("tag:yaml.org,2002:", "!!")
            self._refuse(f"the tag '{short}' makes an object; a config holds plain values only, remove it")

    def _alias(self, anchor: str | None) -> None:
        if self.open and self.open[-1].wants_a_key:
            self._refuse(f"the alias '*{anchor}' stands where a key must; write the key out")
        if anchor is None or anchor not in self.anchors:
            self._refuse(f"the alias '*{anchor}' names nothing before it, or holds itself; write the value out")
        self._count(*self.anchors[anchor])

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        self._tag(event.tag)
        if not self.open:
            self._root(is_mapping=False, is_empty=event.value in ("", "~", "null"))
        elif self.open[-1].wants_a_key:
            self._key(event.value)
        elif asks_a_resolver(event.value, clock=True):
            self._refuse(
                "'${…}' may name another value of the config, and may not read the environment or compute; write it out"
            )
        if event.style in (None, "") and len(event.value) > LONGEST_WORD:
            self._refuse(f"a value without quotes is longer than {LONGEST_WORD:,} characters; put it in quotes")
        if event.style in (None, "") and _LONG_NUMBER.fullmatch(event.value):
            self._refuse(f"a number of {len(event.value):,} digits; if it is a text, put it in quotes")
        if event.anchor:
            self.anchors[event.anchor] = (1, 0)
        self._count(1, 0)

    def _key(self, key: str) -> None:
        if key in _COMMAND_LINE_ONLY:
            self._refuse(f"{key}: {_COMMAND_LINE_ONLY[key]}")
        if key in self.open[-1].keys:
            self._refuse(f"the key '{key}' is here twice; remove one")
        self.open[-1].keys.add(key)

    def _begin(self, event: yaml.CollectionStartEvent) -> None:
        self._tag(event.tag)
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        if not self.open:
            self._root(is_mapping, is_empty=False)
        elif self.open[-1].wants_a_key:
            self._refuse("a list or mapping stands where a key must; a key is a word")
        before = self.nodes
        self._count(1, 1)
        self.anchors.pop(event.anchor or "", None)  # until it is closed, an alias of this name would hold itself
        self.open.append(_Open(is_mapping, event.anchor, before))

    def _end(self) -> None:
        done = self.open.pop()
        if done.anchor:
            self.anchors[done.anchor] = (self.nodes - done.nodes_before, done.height)
        if self.open:
            self.open[-1].height = max(self.open[-1].height, done.height + 1)

    def _root(self, is_mapping: bool, is_empty: bool) -> None:
        if not is_mapping and not is_empty:
            self._refuse("a config file holds `key: value` lines, and this one does not")
