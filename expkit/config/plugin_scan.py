"""Names that a Python file registers, read from its text: none of it is run."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

LARGEST = 1_000_000  # bytes of a file that is scanned


@dataclass(frozen=True)
class RegisteredName:
    """A name that a file registers. registry: the variable, e.g. `models`; options: name -> the values it may have."""

    registry: str
    name: str
    options: Mapping[str, list[str]]


def names_in(path: Path) -> list[RegisteredName]:
    """Return the names of `@models.register("name")` and the like; [] for a file that is no Python."""
    try:
        if path.stat().st_size > LARGEST:
            return []
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):  # the last two: nested too deep
        return []
    return list(_names(tree))


def file_with(registry: str, name: str, folder: Path) -> str | None:
    """Return the Python file of a folder that registers a name, or None."""
    for path in sorted(folder.glob("*.py")):
        if any(one.registry == registry and one.name == name for one in names_in(path)):
            return path.name
    return None


def _names(tree: ast.Module) -> Iterator[RegisteredName]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            continue
        for call in node.decorator_list:
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.args):
                continue
            place, name = call.func.value, call.args[0]
            is_text = isinstance(name, ast.Constant) and isinstance(name.value, str)
            if call.func.attr == "register" and isinstance(place, ast.Name) and is_text:
                yield RegisteredName(place.id, str(ast.literal_eval(name)), _options(node))


def _options(node: ast.FunctionDef | ast.ClassDef) -> dict[str, list[str]]:
    if isinstance(node, ast.ClassDef):
        found = [one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"]
        return {name: values for name, values in _options(found[0]).items() if name != "self"} if found else {}
    arguments = [*node.args.args, *node.args.kwonlyargs]
    return {one.arg: _values(one.annotation) for one in arguments}


def _values(annotation: ast.expr | None) -> list[str]:
    """Return the values of `Literal["a", "b"]` or bool, else []."""
    if isinstance(annotation, ast.Name) and annotation.id == "bool":
        return ["false", "true"]
    if not (isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value).endswith("Literal")):
        return []
    inner = annotation.slice
    items = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    return [str(item.value) for item in items if isinstance(item, ast.Constant)]
