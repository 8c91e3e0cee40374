"""Words that a Python file registers, read from its text: nothing of it is run."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

LARGEST = 1_000_000  # bytes of a file that is looked into


@dataclass(frozen=True)
class Word:
    """A word as a file writes it. registry: the variable, e.g. `models`; options: name -> the values it may have."""

    registry: str
    name: str
    options: Mapping[str, list[str]]


def words_of(path: Path) -> list[Word]:
    """Return the words of `@models.register("name")` and the like; none of a file that is no Python."""
    try:
        if path.stat().st_size > LARGEST:
            return []
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):  # the last two: nested too deep
        return []
    return list(_words(tree))


def file_with(registry: str, name: str, folder: Path) -> str | None:
    """Return the Python file of a folder that registers a word, None where none does."""
    for path in sorted(folder.glob("*.py")):
        if any(word.registry == registry and word.name == name for word in words_of(path)):
            return path.name
    return None


def _words(tree: ast.Module) -> Iterator[Word]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            continue
        for call in node.decorator_list:
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.args):
                continue
            place, name = call.func.value, call.args[0]
            is_word = isinstance(name, ast.Constant) and isinstance(name.value, str)
            if call.func.attr == "register" and isinstance(place, ast.Name) and is_word:
                yield Word(place.id, str(ast.literal_eval(name)), _options(node))


def _options(node: ast.FunctionDef | ast.ClassDef) -> dict[str, list[str]]:
    if isinstance(node, ast.ClassDef):
        found = [one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"]
        return {name: values for name, values in _options(found[0]).items() if name != "self"} if found else {}
    arguments = [*node.args.args, *node.args.kwonlyargs]
    return {one.arg: _values(one.annotation) for one in arguments}


def _values(annotation: ast.expr | None) -> list[str]:
    """Return the words of `Literal["a", "b"]`, and those of bool."""
    if isinstance(annotation, ast.Name) and annotation.id == "bool":
        return ["false", "true"]
    if not (isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value).endswith("Literal")):
        return []
    inner = annotation.slice
    items = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    return [str(item.value) for item in items if isinstance(item, ast.Constant)]
