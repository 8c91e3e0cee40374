"""Secrets in Python source code: in literals by the names they belong to, in comments and texts as in any text."""

import ast
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from expkit.config.redaction.binding import marked_literals
from expkit.config.redaction.names import Level
from expkit.config.redaction.text import redact_text
from expkit.config.redaction.values import SECRET, is_secret

Clean = Callable[[str], str]  # removes what is known of this machine: paths, names, values of its environment

_PIECE = re.compile(
    r"(?P<comment>#[^\n\r]*)"
    r"|(?P<prefix>(?<!\w)[rRbBuUfFtT]{1,2}(?=['\"])|)"
    r"(?:(?P<long>'''|\"\"\")(?P<text>(?:\\[\s\S]|(?!(?P=long))[\s\S])*)(?:(?P=long)|\Z)"
    r"|(?P<short>['\"])(?P<line>(?:\\(?:\r\n|[\s\S])|(?!(?P=short))[^\\\n\r])*)(?P=short))"
)


@dataclass(frozen=True)
class _Piece:
    """A comment or a literal in a source. prefix, quote: empty for a comment."""

    start: int
    end: int
    prefix: str
    quote: str
    body: str

    @property
    def is_formatted(self) -> bool:
        return "f" in self.prefix.lower() or "t" in self.prefix.lower()


def redact_python(source: str, clean: Clean = lambda text: text) -> str:
    """Return source code without secrets: it parses if it did, and keeps its number of lines."""
    mark = "\ufeff" * source.startswith("\ufeff")
    source = source.removeprefix(mark)
    tree = _parsed(source)
    if tree is None and _SHELL.search(source):
        return mark + _with_commands(source, clean)
    if tree is None:
        source = redact_text(source, "code")
    levels, numbers = _levels(source, tree) if tree else ({}, [])
    whole = _rewritten(source, levels, numbers, clean, harsh=False)
    if tree is not None and _parsed(whole) is None:
        whole = _rewritten(source, levels, numbers, clean, harsh=True)
    return mark + whole


# Lines of a notebook that are not Python (`!pip install …`, `%env NAME=…`), and whole cells that are not (`%%bash`).
_SHELL = re.compile(r"^[ \t]*(?:!|%%?(?=[A-Za-z]))", re.M)
_ALL_SHELL = re.compile(r"\s*%%(?:bash|sh|script|cmd|writefile|file|perl|ruby|system|sx|html|javascript|js)\b")


def _with_commands(source: str, clean: Clean) -> str:
    """Return a cell of a notebook, whose lines for the shell are treated as comments."""
    if _ALL_SHELL.match(source):
        return clean(redact_text(source, "settings"))
    lines = source.split("\n")
    marks = {number: found.end() - 1 for number, line in enumerate(lines) if (found := _SHELL.match(line))}
    for number, at in marks.items():
        lines[number] = lines[number][:at] + "#" + lines[number][at + 1 :]
    kept = redact_python("\n".join(lines), clean).split("\n")
    for number, at in marks.items():
        if kept[number][at : at + 1] == "#":
            kept[number] = kept[number][:at] + source.split("\n")[number][at] + kept[number][at + 1 :]
    return "\n".join(kept)


def _parsed(source: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings(action="ignore"):  # of invalid escapes in the source
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _levels(source: str, tree: ast.Module) -> tuple[dict[tuple[int, int], Level], list[tuple[int, int]]]:
    """Return (span of a marked text -> level, spans of secret numbers), in characters."""
    lines = re.findall(r"[^\n\r]*(?:\r\n|\n|\r|\Z)", source)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))

    def place(line: int, column: int) -> int:
        text = lines[line - 1]
        return starts[line - 1] + (column if text.isascii() else len(text.encode()[:column].decode(errors="ignore")))

    spans: dict[tuple[int, int], Level] = {}
    numbers = []
    for node, level in marked_literals(tree).items():
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        span = place(node.lineno, node.col_offset), place(node.end_lineno, node.end_col_offset)
        value = node.value if isinstance(node, ast.Constant) else ""
        if isinstance(value, str | bytes):
            spans[span] = max(level, spans.get(span, Level.NONE))
        elif type(value) in (int, float) and level == Level.CERTAIN and abs(value) >= 1000:  # type: ignore[arg-type]
            numbers.append(span)
    return spans, numbers


def _rewritten(
    source: str, levels: dict[tuple[int, int], Level], numbers: list[tuple[int, int]], clean: Clean, harsh: bool
) -> str:
    """Return the source with its pieces cleaned; harsh: a literal that is not clean is left out as a whole."""
    changes = [(*span, f'"{SECRET}"') for span in numbers]
    ordered = sorted(levels.items())
    at = 0
    for found in _PIECE.finditer(source):
        piece = _piece(found)
        while at < len(ordered) and ordered[at][0][1] <= piece.start:
            at += 1
        inside = [level for (start, end), level in ordered[at : at + 40] if start <= piece.start < end]
        changes.append((piece.start, piece.end, _clean_piece(piece, max(inside, default=Level.NONE), clean, harsh)))
    parts, last = [], 0
    for start, end, text in sorted(changes):
        if start >= last:
            parts += [source[last:start], text]
            last = end
    return "".join([*parts, source[last:]])


def _piece(found: re.Match[str]) -> _Piece:
    if found["comment"] is not None:
        return _Piece(*found.span(), "", "", found["comment"])
    body = found["text"] if found["long"] else found["line"]
    return _Piece(*found.span(), found["prefix"], found["long"] or found["short"], body)


def _clean_piece(piece: _Piece, level: Level, clean: Clean, harsh: bool) -> str:
    if not piece.quote:
        return clean(redact_text(piece.body))
    whole = f"{piece.prefix}{piece.quote}{piece.body}{piece.quote}"
    left_out = f"{piece.prefix}{piece.quote}{SECRET}{_breaks(piece)}{piece.quote}"
    filled = re.sub(r"\{[^{}]*\}", " ", piece.body).strip() if piece.is_formatted else piece.body
    if filled in ("Key", "Token", "Bearer", "Basic", "ApiKey", "Bot"):
        level = Level.NONE
    if is_secret(piece.body, level):
        return left_out
    if "\\" not in piece.body or "r" in piece.prefix.lower() or piece.is_formatted:
        body = clean(redact_text(piece.body))
        if body == piece.body:
            return whole
        text = f"{piece.prefix}{piece.quote}{body}{piece.quote}"
        return left_out if harsh or _parsed(text) is None else text
    return _clean_value(piece, whole, level, clean) or left_out


def _clean_value(piece: _Piece, whole: str, level: Level, clean: Clean) -> str | None:
    """Return a literal whose value, escapes resolved, is clean; None where it must be left out as a whole."""
    try:
        with warnings.catch_warnings(action="ignore"):
            value = ast.literal_eval(whole)
    except (SyntaxError, ValueError):
        body = clean(redact_text(piece.body))
        return whole if body == piece.body else None
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    if is_secret(text, level):
        return None
    made = clean(redact_text(text))
    if made == text:
        return whole
    if len(piece.quote) == 3 and isinstance(value, str):
        return f"{piece.prefix}{piece.quote}{_escaped(made)}{piece.quote}"
    return repr(made.encode("latin-1", "replace") if isinstance(value, bytes) else made)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'").replace('"', '\\"')


def _breaks(piece: _Piece) -> str:
    """Return the line ends within a literal, so that the lines after it keep their numbers."""
    count = piece.body.count("\n")
    return "\n" * count if len(piece.quote) == 3 else "\\\n" * count
