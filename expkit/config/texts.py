"""Overrides as they were meant: text where an option takes text, also where it looks like a number or a list."""

import re
import types
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Union, get_args, get_origin

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import HydraException

from expkit.config.registry import GROUPS
from expkit.config.signature import Misfit, fit, options_of
from expkit.core.errors import ConfigError, nearest
from expkit.core.escaping import as_override, quoted

_WORD = re.compile(r"(\+{0,2})([A-Za-z_][\w./]*(?:@[\w./:]*)?)=(.*)", re.DOTALL)
# The choice that means none of a group; the other groups must have one.
_NONE = {"schedule": "constant", **dict.fromkeys(("logger", "watch", "metric", "checkpoint", "experiment"), "none")}
_TEXT_SCALARS = ("name", "output_dir")  # of the config's top
_NOT_BY_NAME = ("transforms", "watch", "metric")  # groups whose own keys are no options of a registered name
_LISTS = (list, tuple, Sequence, Iterable, Collection)


@dataclass(frozen=True)
class Typed:
    """A value as it is read, its text, and the same of its items and keys."""

    value: Any
    text: str | None = None  # None where no text alone stands for it
    items: list["Typed"] = field(default_factory=list)
    keys: list["Typed"] = field(default_factory=list)


def as_meant(words: list[str], several: bool = False, typed_only: bool = False) -> list[str]:
    """Return overrides whose texts Hydra's grammar reads as texts. Raises ConfigError.

    several: whether a,b is two values (-m). typed_only: leave out what needs the import of torch.
    """
    return [_as_meant(word, several, typed_only) for word in words]


def _as_meant(word: str, several: bool, typed_only: bool) -> str:
    if word.startswith("="):
        raise ConfigError(f"command line: '{word}' names no key; an override is KEY=VALUE")
    if not (match := _WORD.fullmatch(word)) or match[2].startswith("sweep."):
        return word
    sign, key, text = match.groups()
    if key in GROUPS or key == "experiment" or "/" in key:
        choices = [_choice(key, one) for one in split(text)]
        return f"{sign}{key}={','.join(choices)}" if choices != split(text) else word
    override, path = _parsed(f"key={text}"), key.partition("@")[0]
    parts = split(text) if several and (override is None or override.is_sweep_override()) else [text]
    if override is not None and override.is_sweep_override() and override.value_type != ValueType.SIMPLE_CHOICE_SWEEP:
        return word
    if override is not None and len(parts) == 1 and (override.is_sweep_override() or isinstance(override.value(), str)):
        return word
    values = [_value(path, one, typed_only) for one in parts]
    if None not in values:
        return f"{sign}{key}={','.join(map(str, values))}"
    if override is None:
        raise ConfigError(_unreadable(f"{sign}{key}", text))
    return word


def _unreadable(key: str, text: str) -> str:
    """Return the message for a value that Hydra cannot read."""
    name, problem = key.lstrip("+"), "cannot be read"
    try:
        OverridesParser.create().parse_override(f"key={text}")
    except HydraException as error:
        problem = str(error).splitlines()[0]
        if found := re.search(r"while evaluating '((\w+)\(.*?)': ", str(error), re.DOTALL):
            return f"{name}: {_misuse(found[2], found[1], 'Unknown function' in str(error))}"
    if re.fullmatch(r"\s*\{.*\}\s*", text, re.S) and not takes_text(key):
        return _unreadable_mapping(name, text, problem)
    as_text = f", or, if this is a text, write {as_override(key, text)}" if may_be_text(name) else ""
    return f"{name}: {problem}; close what is open{as_text}"


# Hydra's functions of several values, as they are written, and what others call them.
_FUNCTIONS = {
    "interval": "interval(LOW,HIGH)", "range": "range(START,STOP,STEP)", "choice": "choice(A,B,…)",
    "tag": "tag(log,interval(LOW,HIGH))", "int": "int(interval(LOW,HIGH))", "float": "float(range(START,STOP))",
    "shuffle": "shuffle(A,B,…)", "sort": "sort(A,B,…)", "glob": "glob(PATTERN)", "str": "str(A,B,…)",
    "bool": "bool(A,B,…)",
}  # fmt: skip
_OF_OTHERS = {
    **dict.fromkeys(("log", "loguniform", "log_uniform", "logspace", "geomspace", "qloguniform"), "tag"),
    **dict.fromkeys(("uniform", "linspace", "between", "suggest_float"), "interval"),
    **dict.fromkeys(("randint", "quniform", "integers", "integer", "suggest_int"), "int"),
    **dict.fromkeys(("arange",), "range"),
    **dict.fromkeys(("list", "grid", "grid_search", "values", "categorical", "suggest_categorical"), "choice"),
}


def _misuse(function: str, call: str, is_unknown: bool) -> str:
    """Return the message for a wrong function of several values."""
    if not is_unknown:
        return f"{call} cannot be read; write {_FUNCTIONS.get(function, _FUNCTIONS['interval'])}"
    if other := _OF_OTHERS.get(function.lower()):
        return f"there is no function '{function}'; write {_FUNCTIONS[other]}"
    hint = nearest(function, _FUNCTIONS) or f"; there is {', '.join(_FUNCTIONS)}"
    return f"there is no function '{function}'{hint}"


def _unreadable_mapping(key: str, text: str, problem: str) -> str:
    """Return the message for a mapping that the command line cannot read: keys have no quotes there."""
    group, _, option = key.partition(".")
    members = [member for annotation in annotations(key) for member in _members(annotation)]
    as_list = f"{key}=[1.0,2.0,…] with a number for each class, in the order of the classes"
    if group not in GROUPS or not any(get_origin(member) in (dict, Mapping) for member in members):
        takes_list = any(get_origin(member) in _LISTS for member in members)
        return f"{key}: {problem}; " + (f"write {as_list}" if takes_list else "close what is open")
    names = [name for name in GROUPS[group].names() if option in GROUPS[group].options(name)]
    file = f"`name: {names[0]}` and `{option}: {text.strip()}` into conf/{group}/mine.yaml and give {group}=mine"
    return f"{key}: {problem}; a key on the command line is of plain letters: write {as_list}, or {file}"


def _choice(group: str, text: str) -> str:
    """Return the choice that `null` means in a group. Raises ConfigError where there must be one."""
    inner = text.strip()
    if group in _NONE and inner[:1] == "[" and inner[-1:] == "]":
        named = split(inner[1:-1])
        kept = [one for one in named if one.strip().lower() not in ("null", "")]
        return (text if kept == named else f"[{','.join(kept)}]") if kept else _NONE[group]
    if inner.lower() != "null":
        return text if _parsed(f"key={text}") or re.match(r"\W*\w*\(|[\[{]", text) else quoted(text)
    if group not in _NONE:
        raise ConfigError(f"{group}: null chooses nothing, and there must be a choice; leave it out, or name one")
    return _NONE[group]


def _value(path: str, text: str, typed_only: bool = False) -> str | None:
    """Return a value as Hydra takes it, None for one that it cannot read and that may not be a text."""
    typed = read(text)
    if typed is None:
        opens = re.match(r"\s*(\w+\s*\(|[\[{(])", text)
        return quoted(text) if not opens or takes_text(path) else None
    asks = not typed_only or path in _TEXT_SCALARS
    value = meant(path, typed) if asks and not isinstance(typed.value, str) else typed.value
    return text if repr(value) == repr(typed.value) and _parsed(f"key={text}") else written(typed, value)


def read(text: str) -> Typed | None:
    """Return a value as Hydra reads it, with its texts; None where it cannot read it.

    Lists may hold texts that Hydra cannot read, such as letters beyond ASCII.
    """
    inner = text.strip()
    if inner[:1] == "[" and inner[-1:] == "]" and len(inner) > 2:
        items = [read(one) or Typed(one.strip(), one.strip()) for one in split(inner[1:-1])]
        return Typed([one.value for one in items], text, items)
    override = _parsed(f"key={text}")
    if override is None or override.is_sweep_override():
        return None
    value = override.value()
    if not isinstance(value, dict):
        return Typed(value, inner)
    pairs = [one.partition(":")[::2] for one in split(inner[1:-1])]
    if len(pairs) != len(value):
        return Typed(value, text)
    items = [read(one) or Typed(one, one) for _, one in pairs]
    return Typed(value, text, items, [Typed(key, name.strip()) for key, (name, _) in zip(value, pairs, strict=True)])


def written(typed: Typed, value: Any) -> str:
    """Return a value as Hydra's command line takes it: unchanged parts as they were typed."""
    if isinstance(value, str):
        return typed.text if typed.text and _reads_as(typed.text, value) else quoted(value)
    if isinstance(value, list) and typed.items:
        return f"[{','.join(written(*pair) for pair in zip(typed.items, value, strict=True))}]"
    if isinstance(value, Mapping) and typed.items:
        pairs = zip(typed.keys, typed.items, value.values(), strict=True)
        return "{" + ",".join(f"{key.text}:{written(item, one)}" for key, item, one in pairs) + "}"
    return typed.text or str(value)


def _reads_as(text: str, value: str) -> bool:
    override = _parsed(f"key={text}")
    return override is not None and not override.is_sweep_override() and override.value() == value


def _parsed(word: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(word)
    except HydraException:
        return None


def split(text: str) -> list[str]:
    """Return the parts between the commas outside brackets and quotes."""
    parts, depth, quote, start = [], 0, "", 0
    for place, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote and text[place - 1] != "\\" else quote
        elif letter in "\"'" and not text[start:place].strip(" [{(:,"):
            quote = letter
        elif letter in "[{(":
            depth += 1
        elif letter in "]})":
            depth -= 1
        elif letter == "," and depth <= 0:
            parts.append(text[start:place])
            start = place + 1
    return [*parts, text[start:]]


# ---- the types of an option -------------------------------------------------------------------------------------


def takes_text(path: str) -> bool:
    """Return True if an option takes a text."""
    return any(_fits(annotation, "text") for annotation in annotations(path))


def may_be_text(path: str) -> bool:
    """Return True if an option takes a text, or its type is unknown."""
    return takes_text(path) or (path.partition(".")[0] not in GROUPS and not annotations(path))


def meant(path: str, typed: Typed) -> Any:
    """Return a value as an option takes it: as it was read, or its texts where only those fit."""
    known = annotations(path)
    if any(_fits(annotation, typed.value) for annotation in known):
        return typed.value
    found = (_with_texts(annotation, typed) for annotation in known)
    return next((one for annotation, one in zip(known, found, strict=True) if _fits(annotation, one)), typed.value)


@cache
def annotations(path: str) -> tuple[Any, ...]:
    """Return the types that an option may have: of every name of its group that has it. Imports torch."""
    from expkit.core.process import importing

    group, _, option = path.partition(".")
    with importing():
        if not option:
            from expkit.config.run_options import RunOptions

            known = options_of(RunOptions).get(group)
            return (known.annotation,) if known else ()
        if group == "logger":
            option = option.partition(".")[2]
        if group not in GROUPS or group in _NOT_BY_NAME or "." in option:
            return ()
        options = [GROUPS[group].options(name) for name in GROUPS[group].names()]
    return tuple(one[option].annotation for one in options if option in one)


def _fits(annotation: Any, value: Any) -> bool:
    if isinstance(value, Mapping) and not all(isinstance(key, str) for key in value):
        mappings = [member for member in _members(annotation) if get_origin(member) in (dict, Mapping)]
        if any(get_args(member)[0] is str for member in mappings):  # `fit` takes 7 for a key that is text: 007 or 7
            return False
    try:
        fit(annotation, value)
    except Misfit:
        return False
    return True


def _with_texts(annotation: Any, typed: Typed) -> Any:
    """Return a value with texts where the type takes nothing else."""
    if _fits(annotation, typed.value):
        return typed.value
    for member in _members(annotation):
        value = typed.value
        arguments = get_args(member)
        if isinstance(value, list) and get_origin(member) in _LISTS and arguments and typed.items:
            value = [_with_texts(arguments[0], item) for item in typed.items]
        elif isinstance(value, Mapping) and get_origin(member) in (dict, Mapping) and arguments and typed.items:
            keys = [_with_texts(arguments[0], key) for key in typed.keys]
            value = dict(zip(keys, (_with_texts(arguments[1], item) for item in typed.items), strict=True))
        elif member is str and typed.text is not None:
            value = typed.text
        if _fits(member, value):
            return value
    return typed.value


def _members(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
