"""Secrets of every kind in every form: none is left, the Python still parses, and ordinary code stays as it is."""

import ast
import json
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from expkit.config.redaction.sources import redact_patch, redact_source
from tests.config.redaction import forms

ROUNDS = 40 if os.environ.get("EXPKIT_LONG") else 3
OF_CERTAIN = ("token", "base64", "prefixed", "hex", "password", "phrase")
OF_LIKELY = ("token", "base64", "prefixed", "hex")
OF_BARE = ("token", "base64", "prefixed")


def leaks(secret: str, text: str) -> bool:
    """Return True if any eight consecutive characters of a secret are in a text."""
    return any(secret[start : start + 8] in text for start in range(len(secret) - 7))


def cases(named: list[str], bare: list[str], seed: int) -> Iterator[tuple[str, str]]:
    """Yield (secret, source)."""
    chance = random.Random(seed)
    for _ in range(ROUNDS):
        for form in named:
            for names, kinds in ((forms.CERTAIN, OF_CERTAIN), (forms.LIKELY, OF_LIKELY)):
                one_word = [kind for kind in kinds if kind != "phrase" or not ("{s}&" in form or "={s} -" in form)]
                secret = forms.random_secret(chance, chance.choice(one_word))
                yield secret, form.format(n=chance.choice(names), s=secret)
        for form in bare:
            secret = forms.random_secret(chance, chance.choice(OF_BARE))
            yield secret, form.format(s=secret)


def parses(source: str) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


def test_no_secret_is_left_in_python() -> None:
    told = []
    for secret, source in cases(forms.PYTHON_NAMED, forms.PYTHON_BARE, 1):
        kept = redact_source("a.py", source)
        if leaks(secret, kept) or not parses(kept) or kept.count("\n") != source.count("\n"):
            told.append((source, kept))
    assert not told, "\n".join(map(str, told))


def test_no_secret_is_left_in_python_that_does_not_parse() -> None:
    told = []
    chance = random.Random(2)
    for form in forms.PYTHON_NAMED[:8] + forms.PYTHON_BARE:
        secret = forms.random_secret(chance, chance.choice(OF_BARE))
        kept = redact_source("a.py", "def broken(:\n" + form.format(n=chance.choice(forms.CERTAIN), s=secret))
        told += [kept] * leaks(secret, kept)
    assert not told, "\n".join(told)


@pytest.mark.parametrize("suffix", ["yaml", "toml", "ini", "sh", "cfg", "env"])
def test_no_secret_is_left_in_settings(suffix: str) -> None:
    told = []
    for secret, text in cases(forms.SETTINGS_NAMED, forms.SETTINGS_BARE, len(suffix)):
        kept = redact_source(f"a.{suffix}", text)
        if leaks(secret, kept) or kept.count("\n") != text.count("\n"):
            told.append((text, kept))
    assert not told, "\n".join(map(str, told))


def test_no_secret_is_left_in_a_notebook() -> None:
    for secret, source in cases(forms.PYTHON_NAMED[:10], forms.PYTHON_BARE[:5], 3):
        output = {"output_type": "stream", "name": "stdout", "text": [f"the key is {secret}"]}
        cell = {"cell_type": "code", "source": source.splitlines(True), "outputs": [output], "metadata": {}}
        book = {
            "cells": [cell, {"cell_type": "markdown", "source": [source], "metadata": {}}],
            "metadata": {},
            "nbformat": 4,
        }
        kept = redact_source("a.ipynb", json.dumps(book))
        assert not leaks(secret, kept), (source, kept)
        assert parses("".join(json.loads(kept)["cells"][0]["source"]))


def test_no_secret_is_left_in_a_patch(tmp_path: Path) -> None:
    """Of lines taken away, added and in between, in Python and settings; and the patch still says what changed."""

    def git(*arguments: str) -> str:
        names = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        return subprocess.run(
            ["git", *names, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    secrets = []
    for name, named, bare in (("a.py", forms.PYTHON_NAMED, forms.PYTHON_BARE), ("b.yaml", forms.SETTINGS_NAMED, [])):
        found = list(cases(named, bare, 4))[: 2 * len(named)]
        secrets += [secret for secret, _ in found]
        third = len(found) // 3
        old, new = found[: 2 * third], found[third:]
        (tmp_path / name).write_text("".join(f"{text}\n" for _, text in old))
        (tmp_path / f"new_{name}").write_text(
            "".join(f"{text}\nwidth = {number}\n" for number, (_, text) in enumerate(new))
        )
    git("init", "-q")
    git("add", "a.py", "b.yaml")
    git("commit", "-qm", "first")
    for name in ("a.py", "b.yaml"):
        (tmp_path / f"new_{name}").rename(tmp_path / name)
    kept = redact_patch(git("diff", "HEAD"), git("diff", "HEAD", "--unified=1000000"))
    assert [secret for secret in secrets if leaks(secret, kept)] == []
    assert "+width = 7" in kept


def test_ordinary_code_stays_as_it_is() -> None:
    assert redact_source("a.py", forms.ORDINARY) == forms.ORDINARY
    assert redact_source("a.yaml", forms.ORDINARY_YAML) == forms.ORDINARY_YAML


SOURCES = sorted((Path(__file__).parents[3] / "expkit").rglob("*.py"))


def test_this_program_stays_runnable() -> None:
    """Of all sources of the package hardly a line is taken for a secret, and all parse."""
    changed = []
    for path in SOURCES if os.environ.get("EXPKIT_LONG") else SOURCES[::4]:
        text = path.read_text()
        kept = redact_source(path.name, text)
        assert parses(kept)
        lines = zip(text.splitlines(), kept.splitlines(), strict=True)
        changed += [f"{path.name}: {after}" for before, after in lines if before != after]
    assert len(changed) <= 5, "\n".join(changed)
