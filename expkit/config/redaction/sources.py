"""Secrets in whole files by their kind: Python, notebooks, settings, and the patch of a repository."""

import json
import re
from pathlib import PurePosixPath

from expkit.config.redaction.python import Clean, redact_python
from expkit.config.redaction.structures import redact_value, without_secret_values
from expkit.config.redaction.text import redact_text

_PROSE = {".md", ".rst", ".txt", ".log", ".csv", ".tex"}
_CODE = {".js", ".ts", ".c", ".h", ".cc", ".cpp", ".cu", ".go", ".rs", ".java", ".lua", ".jl", ".r"}


def redact_source(name: str, text: str, clean: Clean = lambda text: text) -> str:
    """Return a source file without secrets.

    clean: removes what is known of this machine, from everything but Python's own words.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in (".py", ".pyi"):
        return redact_python(text, clean)
    if suffix == ".ipynb":
        return _notebook(text, clean)
    kind = "prose" if suffix in _PROSE else "code" if suffix in _CODE else "settings"
    return clean(redact_text(without_secret_values(name.lower(), text), kind))  # type: ignore[arg-type]


def _notebook(text: str, clean: Clean) -> str:
    """Return a notebook without its outputs, which a run of it makes again; as a text where it is none."""

    def tidy(text: str) -> str:
        return clean(redact_text(text))

    try:
        found = json.loads(text)
        cells = found["cells"]
        for cell in cells:
            is_code = cell.get("cell_type") == "code"
            source = cell.get("source", "")
            whole = source if isinstance(source, str) else "".join(source)
            kept = redact_python(whole, clean) if is_code else clean(redact_text(whole))
            cell["source"] = kept.splitlines(keepends=True)
            if is_code:
                cell |= {"outputs": [], "execution_count": None}
            cell["metadata"], cell["attachments"] = redact_value(cell.get("metadata", {}), tidy), {}
            if is_code or not cell["attachments"]:
                del cell["attachments"]
        found["metadata"] = redact_value(found.get("metadata", {}), tidy)
        return json.dumps({**found, "cells": cells}, indent=1, ensure_ascii=False) + "\n"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return clean(redact_text(text, "settings"))


_FILE = re.compile(r"^diff --git .*$", re.M)
_HUNK = re.compile(r"^@@ ")


def redact_patch(patch: str, wide: str, clean: Clean = lambda text: text) -> str:
    """Return a patch without secrets.

    wide: the same patch with all lines of its files, so that a line is judged in its file. The hunks of notebooks are
    left out: they are mostly outputs.
    """
    files = _sections(wide)
    return "".join(
        _patched(head, section, files.get(head, section), clean) for head, section in _sections(patch).items()
    )


def _sections(patch: str) -> dict[str, str]:
    """Return the section of each file, by its first line."""
    starts = [found.start() for found in _FILE.finditer(patch)] or [0]
    parts = [patch[start:end] for start, end in zip(starts, [*starts[1:], len(patch)], strict=True)]
    return {part.split("\n", 1)[0]: part for part in parts if part}


def _patched(head: str, section: str, wide: str, clean: Clean) -> str:
    name = head.rpartition(" b/")[2].strip('"') or "x"
    lines = section.split("\n")
    first = next((number for number, line in enumerate(lines) if _HUNK.match(line)), len(lines))
    if name.endswith(".ipynb") and first < len(lines):
        return "\n".join([*lines[:first], "(the changes of a notebook are left out)", ""])
    changed = _changed_lines(name, wide, clean)
    kept = [clean(line) for line in lines[:first]]
    for line in lines[first:]:
        if _HUNK.match(line):
            mark, _, about = line[2:].partition("@@")
            kept.append(f"@@{mark}@@{changed.get(about.strip(), clean(redact_text(about, 'code')))}")
        else:
            kept.append(line[:1] + changed.get(line[1:], line[1:]))
    return "\n".join(kept)


def _changed_lines(name: str, wide: str, clean: Clean) -> dict[str, str]:
    """Return line -> its replacement, for the redacted lines of a file before and after the patch."""
    lines = wide.split("\n")
    first = next((number for number, line in enumerate(lines) if _HUNK.match(line)), len(lines))
    changed: dict[str, str] = {}
    for sign in "-+":
        text = [line[1:] for line in lines[first:] if line[:1] in (sign, " ")]
        kept = redact_source(name, "\n".join(text), clean).split("\n")
        if len(kept) != len(text):  # nobody knows which line is which
            kept = [clean(redact_text(line, "settings")) for line in text]
        changed |= {line: one for line, one in zip(text, kept, strict=True) if line != one}
    return changed
