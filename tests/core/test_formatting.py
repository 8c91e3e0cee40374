"""Counts in messages agree with their nouns, everywhere."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

import expkit
from expkit.config.registry import models, transforms, watchers
from expkit.config.signature import Misfit, fit
from expkit.core.formatting import count_noun, duration, named_outputs, operations
from expkit.loggers.base import Point, Progress, epoch_line

ROOT = Path(expkit.__file__).parent
NOUNS = (
    "steps|images|samples|classes|files|jobs|runs|folds|weights|parameters|epochs|points|rows|ranks|workers|targets|"
    "processes|labels|points|values|batches|checkpoints|faults|trials|GFLOPs"
)
# Numbers that cannot be 1, or that no one reads as a count of what follows.
EVER_MORE = re.compile(
    r"[A-Z_.]+|len\(CLASSES\)|options\.folds|limit|fold|every|length|batch|planned|num_classes|len\(folders\)"
    r"|len\(ambiguous\)|len\(sweep\.rates\)|len\(names\)|len\(images\)|len\(data\)|limit \* size|images"
    r"|.*get\('(folds|images)'.*|split|purpose|what|kind|values\.dtype|_has\(outside\)|speed|total / .*|done / .*"
)


def test_no_message_prints_a_count_by_itself() -> None:
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.JoinedStr):
                continue
            for value, after in zip(node.values, node.values[1:], strict=False):
                if not (isinstance(value, ast.FormattedValue) and isinstance(after, ast.Constant)):
                    continue
                noun, code = re.match(rf" ({NOUNS})\b", str(after.value)), ast.unparse(value.value)
                if noun and not EVER_MORE.fullmatch(code):
                    found.append(f"{path.relative_to(ROOT)}: {{{code}}} {noun[1]}")
    assert found == []


@pytest.mark.parametrize(
    ("number", "words", "text"),
    [
        (1, ["step"], "1 step"),
        (0, ["step"], "0 steps"),
        (2000, ["step"], "2,000 steps"),
        (2, ["class"], "2 classes"),
        (3, ["batch"], "3 batches"),
        (2, ["epoch"], "2 epochs"),
        (1, ["file is", "files are"], "1 file is"),
        (2, ["file is", "files are"], "2 files are"),
    ],
)
def test_counts_agree(number: int, words: list[str], text: str) -> None:
    assert count_noun(number, *words) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.44, "0.4 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3600, "1 h 0 min"),
        (3900, "1 h 5 min"),
        (183_600, "2 d 3 h"),
    ],
)
def test_durations_as_one_reads_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 FLOPs"),
        (999, "999 FLOPs"),
        (1.76e6, "1.76 MFLOPs"),
        (999_700, "1 MFLOPs"),
        (1.8e9, "1.8 GFLOPs"),
        (7.26e11, "726 GFLOPs"),
        (2e13, "20 TFLOPs"),
        (2500, "2.5 kFLOPs"),
    ],
)
def test_operations_are_in_a_unit_that_fits(count: float, text: str) -> None:
    assert operations(count) == text


@pytest.mark.parametrize(
    ("annotation", "sentence"),
    [
        (int, "expected an integer"),
        (int | None, "expected an integer or null"),
        (float, "expected a number"),
        (Path, "expected a path"),
        (list[int], "expected a list of integers"),
        (list[str], "expected a list of text"),
        (list[float | None], "expected a list of numbers or null"),
        (list[list[int]], "expected a list of lists of integers"),
        (float | list[float], "expected a number or a list of numbers"),
        (dict[str, int], "expected a mapping of text to integer"),
        (bool, "expected true or false"),
    ],
)
def test_what_an_option_takes_is_a_sentence(annotation: Any, sentence: str) -> None:
    with pytest.raises(Misfit, match=f"^{sentence}$"):
        fit(annotation, object())


@pytest.mark.parametrize(
    ("registry", "noun"),
    [(transforms, "unknown transform 'x'"), (watchers, "unknown watcher"), (models, "unknown model")],
)
def test_one_member_of_a_group_is_named(registry: Any, noun: str) -> None:
    assert noun in registry.faults({"name": "x"})[0]


def test_an_epoch_says_the_course_of_its_rate() -> None:
    progress = Progress(epochs=3)
    progress.begin("train", 0, 0, 3)
    for rate in (4e-5, 1e-3, 1.2e-8):
        progress.used(rate)
    values = {"lr": 1.2e-8, "seconds": 1.0, "images_per_second": 3.0, "data_wait": 0.0, "train/loss": 1.0}
    assert "lr 4e-05 to 0.001 to 1.2e-08 " in epoch_line(Point("epoch", 0, 3, values), progress)


def test_an_epochs_plural() -> None:
    assert count_noun(3, "epoch") == "3 epochs"
    assert count_noun(2, "batch") == "2 batches"


def test_outputs_are_named_after_what_the_model_gives() -> None:
    assert named_outputs(["cat", "dog"], "single_label") == "2 classes (cat, dog)"
    assert named_outputs(["area"], "regression") == "1 number (area)"
    assert named_outputs(["red", "green", "blue"], "reconstruction") == "3 channels (red, green, blue)"
    assert named_outputs([str(number) for number in range(9)], None) == "9 classes (0, 1, 2, 3, 4, 5, …)"
