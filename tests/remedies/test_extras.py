"""Every extra, command and option of a command that a sentence of the package names is there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from expkit.cli.commands import COMMANDS
from tests.remedies.followed import ROOT, extras_named

SOURCES = sorted((ROOT / "expkit").rglob("*.py"))


def texts(path: Path) -> Iterator[str]:
    """Return all texts of a file, those of f-strings part by part."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


TEXTS = [text for path in SOURCES for text in texts(path)]


def test_every_extra_is_there() -> None:
    named = [text for text in TEXTS if re.search(r"install '?expkit\[\w", text)]
    assert len(named) >= 8
    for text in named:
        extras_named(text)


def test_every_command_is_there() -> None:
    named = {found for text in TEXTS for found in re.findall(r"python -m expkit ([a-z][\w-]*)", text)}
    assert {"doctor", "predict", "visdom"} <= named <= set(COMMANDS)
