"""Captions that fit: as long as possible, and found in few steps."""

import random
from typing import Any

import pytest

from expkit.core.plots.image_grid import font_of, shorten


class Counting:
    """A font that counts how often it measures, and how much."""

    def __init__(self) -> None:
        self.calls = self.characters = 0

    def getlength(self, text: str) -> float:
        self.calls, self.characters = self.calls + 1, self.characters + len(text)
        return font_of(13).getlength(text)


def longest_that_fits(text: str, width: int) -> str:
    if font_of(13).getlength(text) <= width:
        return text
    for kept in range(len(text) - 1, 1, -1):
        shorter = text[: kept // 2] + "..." + text[len(text) - (kept - kept // 2) :]
        if font_of(13).getlength(shorter) <= width:
            return shorter
    return text[:1]


@pytest.mark.parametrize("width", [1, 20, 60, 160])
def test_it_keeps_as_much_as_fits(width: int) -> None:
    draws = random.Random(3)
    for length in (0, 1, 2, 3, 12, 40, 200):
        text = "".join(draws.choice("il mwW,.ö猫") for _ in range(length))
        found = shorten(text, width, font_of(13))
        assert found[:1] == text[:1]
        assert font_of(13).getlength(found) <= width or len(found) < 2
        assert abs(len(found) - len(longest_that_fits(text, width))) <= 1  # kerning: a longer text may be narrower


@pytest.mark.parametrize("text", [", ".join(f"label {n}" for n in range(3000)), "x" * 10**6, "\u0301" * 10**5])
def test_a_long_text_is_measured_in_few_steps(text: str) -> None:
    font: Any = Counting()
    assert "..." in shorten(text, 160, font)
    assert font.calls < 20
    assert font.characters < 20_000
