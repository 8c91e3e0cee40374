"""What a factory accepts, read from its signature, and whether a value from a YAML file fits it."""

import collections.abc
import inspect
import math
import numbers
import types
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union

REQUIRED = inspect.Parameter.empty
_SEQUENCES = (list, tuple, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)


class Affects(NamedTuple):
    """What an option affects, declared beside it: `lr: Annotated[float, RESULT]`.

    what: the result, how fast it is computed ("speed"), where the data are ("place"), or what is shown and kept
    ("output"). on_resume: a resumed run may have another value freely, with checkpoint.force ("forced"), with it and at
    the end of an epoch only ("epoch_end"), or never.
    """

    what: Literal["result", "speed", "place", "output"]
    on_resume: Literal["free", "forced", "epoch_end", "never"] = "free"


RESULT = Affects("result", "forced")
FROM_NOW_ON = Affects("result")  # a new value affects later steps only, or what it names is compared instead
SPEED, PLACE, OUTPUT = Affects("speed"), Affects("place"), Affects("output")


class Misfit(Exception):
    """A value does not fit an option's type; the text says what is expected."""


@dataclass(frozen=True)
class Option:
    """One option of a factory: its name, its type as annotated, and its default (REQUIRED where there is none)."""

    name: str
    annotation: Any
    default: Any = REQUIRED
    affects: Affects | None = None  # None: as the options of its group do

    @property
    def required(self) -> bool:
        return self.default is REQUIRED


def options_of(factory: Callable[..., Any]) -> dict[str, Option]:
    """Return the options that a YAML file can set: every named parameter whose type can be written in YAML.

    A parameter that takes code (a callable, a module) is left out: nothing in a config may name code.
    """
    return _read_options(factory)


@cache
def _read_options(factory: Any) -> dict[str, Option]:
    hints = _type_hints(factory)
    options = {}
    for name, parameter in inspect.signature(factory).parameters.items():
        annotation, affects = _declared(hints.get(name, Any))
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            continue
        if expressible(annotation) or (annotation is Any and not callable(parameter.default)):
            options[name] = Option(name, annotation, parameter.default, affects)
    return options


def _declared(annotation: Any) -> tuple[Any, Affects | None]:
    """Return the type that Annotated[type, ...] wraps, and what it declares that the option affects."""
    if typing.get_origin(annotation) is not Annotated:
        return annotation, None
    return annotation.__origin__, next((one for one in annotation.__metadata__ if isinstance(one, Affects)), None)


def subject_of(factory: Callable[..., Any], names: Collection[str]) -> str:
    """Return the parameter of a plain function that takes its input (an image), "" for a factory of objects.

    It is the first, has no default, and has one of the names or the type of an image.
    """
    if not names or not inspect.isfunction(factory):
        return ""
    first = next(iter(inspect.signature(factory).parameters.values()), None)
    if first is None or first.default is not REQUIRED or first.kind is not first.POSITIONAL_OR_KEYWORD:
        return ""
    annotation = _type_hints(factory).get(first.name, first.annotation)
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    is_image = text.rpartition(".")[2] in ("Tensor", "Image", "ndarray")
    is_open = annotation is REQUIRED or annotation is Any
    return first.name if is_image or (is_open and first.name in names) else ""


def _type_hints(factory: Callable[..., Any]) -> dict[str, Any]:
    target = factory.__init__ if inspect.isclass(factory) else factory
    try:
        return typing.get_type_hints(target, include_extras=True)
    except (NameError, TypeError):  # a library's annotation that only a type checker can resolve
        return {}


def expressible(annotation: Any) -> bool:
    """Return True if a value of this type, other than null, can be written in a YAML file."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        return any(expressible(member) for member in arguments if member is not type(None))
    if origin is Literal or annotation in (Any, bool, int, float, str, Path, object, numbers.Number):
        return True
    if (origin or annotation) in (*_SEQUENCES, dict, collections.abc.Mapping):
        return all(expressible(member) for member in arguments if member is not Ellipsis)
    return _is_tensor(annotation) or (inspect.isclass(annotation) and issubclass(annotation, Enum))


def _is_tensor(annotation: Any) -> bool:
    return getattr(annotation, "__name__", "") == "Tensor" and annotation.__module__.partition(".")[0] == "torch"


def describe(annotation: Any, article: str = "") -> str:
    """Return a type as a reader calls it, e.g. `integer or null`, `one of mean, sum`.

    article: "a " for a sentence.
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        members = [describe(member, article) for member in arguments if member is type(None) or expressible(member)]
        return " or ".join(dict.fromkeys(members))
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if annotation is type(None):
        return "null"
    if inspect.isclass(annotation) and issubclass(annotation, Enum):
        return "one of " + ", ".join(str(member.value) for member in annotation)
    if _is_tensor(annotation):
        return f"{article}list of numbers"
    if origin in (dict, collections.abc.Mapping):
        return f"{article}mapping of {describe(arguments[0])} to {describe(arguments[1])}"
    if (origin or annotation) in _SEQUENCES:
        return article + (f"list of {_plural(describe(arguments[0]))}" if arguments else "list")
    found = _SCALARS.get(annotation, getattr(annotation, "__name__", str(annotation)))
    if article and found == "integer":
        return f"an {found}"
    return article + found if annotation in (float, numbers.Number, Path) else found


_SCALARS: dict[Any, str] = {
    Any: "any", object: "any", bool: "true or false", int: "integer", float: "number", numbers.Number: "number",
    str: "text", Path: "path",
}  # fmt: skip


def _plural(kind: str) -> str:
    """Return `numbers` of `number`, `numbers or null` of `number or null`."""
    first, separator, others = kind.partition(" or ")
    first = f"{first}s" if first in ("integer", "number", "path", "list", "mapping") else first
    return first.replace("list of", "lists of", 1).replace("mapping of", "mappings of", 1) + separator + others


def choices(annotation: Any) -> list[str]:
    """Return the values of a type that has few, as a YAML file writes them; [] for one that has many."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        found = [word for member in arguments if member is not type(None) for word in choices(member)]
        return [*found, "null"] if found and type(None) in arguments else found
    if origin is Literal:
        return [str(word) for word in arguments]
    if inspect.isclass(annotation) and issubclass(annotation, Enum):
        return [str(member.value) for member in annotation]
    return ["false", "true"] if annotation is bool else []


def fit(annotation: Any, value: Any) -> Any:
    """Return the value converted to the annotated type (a list to a tuple, a text to an enum member).

    Raises Misfit, which says what the type accepts.
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in (Any, object):
        return value
    if origin in (Union, types.UnionType):
        return _fit_union(annotation, value)
    if origin is Literal:
        return value if any(value == word and type(value) is type(word) for word in arguments) else _refuse(annotation)
    if inspect.isclass(annotation) and issubclass(annotation, Enum):
        return _fit_enum(annotation, value)
    if _is_tensor(annotation):
        return _fit_tensor(annotation, value)
    if (origin or annotation) in (dict, collections.abc.Mapping):
        return _fit_mapping(annotation, value)
    if (origin or annotation) in _SEQUENCES:
        return _fit_sequence(annotation, value)
    return _fit_scalar(annotation, value)


def _refuse(annotation: Any) -> typing.NoReturn:
    raise Misfit(f"expected {describe(annotation, 'a ')}")


def _fit_scalar(annotation: Any, value: Any) -> Any:
    if annotation is numbers.Number:  # torchvision's type of an integer or a float
        return _fit_scalar(float, value) if type(value) is float else _fit_scalar(int, value)
    if annotation is float and type(value) is int:
        return float(value)
    if annotation is float and isinstance(value, float) and not math.isfinite(value):
        raise Misfit("expected a finite number")
    if annotation is Path and isinstance(value, str):
        return Path(value)
    if annotation in (type(None), None) and value is None:
        return None
    if annotation is int and type(value) is int and abs(value) >= 2**63:
        raise Misfit("expected an integer of 64 bits")
    if annotation in (bool, int, float, str) and type(value) is annotation:  # true is not a number
        return value
    _refuse(annotation)


def _fit_union(annotation: Any, value: Any) -> Any:
    members = [member for member in typing.get_args(annotation) if member is type(None) or expressible(member)]
    for member in sorted(members, key=lambda member: member is not type(value)):  # 1 stays an int in `float | int`
        try:
            return fit(member, value)
        except Misfit:
            continue
    _refuse(annotation)


def _fit_enum(annotation: type[Enum], value: Any) -> Enum:
    for member in annotation:
        if value == member.value or (isinstance(value, str) and value.lower() == member.name.lower()):
            return member
    _refuse(annotation)


def _fit_tensor(annotation: Any, value: Any) -> Any:
    if not isinstance(value, list) or not all(type(number) in (int, float) for number in value):
        _refuse(annotation)
    import torch  # only a factory of torch asks for a tensor, so torch is loaded by then

    return torch.tensor(value, dtype=torch.float32)


def _fit_mapping(annotation: Any, value: Any) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        _refuse(annotation)
    key_type, value_type = typing.get_args(annotation) or (Any, Any)
    if key_type is str:
        value = {_text_key(key): item for key, item in value.items()}
    return {fit(key_type, key): fit(value_type, item) for key, item in value.items()}


def _text_key(key: Any) -> Any:
    """Return a key as text where text is expected: `{0: 1.0}` names class 0, and Hydra takes no quotes there."""
    return str(key).lower() if isinstance(key, bool) else str(key) if isinstance(key, int | float) else key


def _fit_sequence(annotation: Any, value: Any) -> Any:
    if not isinstance(value, list | tuple):
        _refuse(annotation)
    origin, arguments = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        if len(arguments) != len(value):
            raise Misfit(f"expected a list of {len(arguments)}, got {len(value)}")
        return tuple(fit(member, item) for member, item in zip(arguments, value, strict=True))
    member = arguments[0] if arguments else Any
    items = [fit(member, item) for item in value]
    return tuple(items) if origin is tuple else items
