"""Literals that are secret by what they are joined to: "ghp_" + "…", "Bearer " + "…", "://%s:%s@" % (…)."""

import ast
import re
from collections.abc import Iterator, Sequence

from expkit.config.redaction.names import Level, level_of
from expkit.config.redaction.values import TOKENS, random_runs

_SCHEME = re.compile(r"\b(?:Basic|Bearer|Token|ApiKey)\s+$", re.I)
_NAME_BEFORE = re.compile(r"([\w.-]+)['\"]?\s*[=:]\s*['\"]?$")
_BLANK = r"(?:%s|%\(\w+\)s|\{\w*\})"
_NAMED_BLANK = re.compile(rf"([\w.-]+)['\"]?\s*[=:]\s*['\"]?{_BLANK}")


def in_parts(node: ast.AST) -> Iterator[tuple[ast.AST, Level]]:
    """Yield (literal, level) of a sum, of "".join([…]), and of what a template is filled with."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        right = node.right.elts if isinstance(node.right, ast.Tuple) else [node.right]
        yield from _filled(node.left, right)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from _summed(_flat(node))
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if node.func.attr == "format":
            yield from _filled(node.func.value, [*node.args, *(keyword.value for keyword in node.keywords)])
        elif node.func.attr == "join" and node.args and isinstance(node.args[0], ast.List | ast.Tuple):
            yield from _summed(node.args[0].elts)


def _flat(node: ast.AST) -> list[ast.AST]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [*_flat(node.left), *_flat(node.right)]
    return [node]


def _summed(parts: Sequence[ast.AST]) -> Iterator[tuple[ast.AST, Level]]:
    whole = "".join(map(_text, parts))
    if len(parts) > 1 and (TOKENS.search(whole) or random_runs(whole)):
        yield from ((part, Level.LIKELY) for part in parts if not _is_start(_text(part)))
    before = ""
    for part in parts:
        if _SCHEME.search(before):
            yield part, Level.LIKELY
        elif found := _NAME_BEFORE.search(before):
            yield part, level_of(found[1])
        before = _text(part)


def _is_start(text: str) -> bool:
    """Return True for a token's public beginning: ghp_, hf_, sk-."""
    return len(text) <= 8


def _filled(template: ast.AST, values: Sequence[ast.AST]) -> Iterator[tuple[ast.AST, Level]]:
    text = _text(template)
    named = [level_of(name) for name in _NAMED_BLANK.findall(text)]
    if re.search(rf"://[^/\s]*:{_BLANK}@", text) or re.search(rf"\b(?:Basic|Bearer)\s+{_BLANK}", text):
        named.append(Level.LIKELY)
    if level := max(named, default=Level.NONE):
        yield from ((value, min(level, Level.LIKELY)) for value in values)


def _text(node: ast.AST) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
