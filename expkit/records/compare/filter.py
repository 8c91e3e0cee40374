"""Which runs are shown, and in which order: --filter and --sort."""

import math
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

from expkit.core.errors import ConfigError, nearest
from expkit.records.compare.table import Comparison, Row, Value
from expkit.tasks.metrics import higher_is_better

_CONDITION = re.compile(r"(.+?)\s*(<=|>=|!=|=|<|>)\s*(.*)")
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt, "=": operator.eq, "!=": operator.ne,
}  # fmt: skip


def known_column(word: str, comparison: Comparison, option: str) -> str:
    """Return the column that a word means: its name, the end of one's, best/SCORE or last/SCORE. Raises ConfigError."""
    known = [*comparison.columns, *dict.fromkeys(path for row in comparison.rows for path in row.settings)]
    when, slash, score = word.replace(" ", "/").partition("/")
    if slash and when in ("best", "last"):
        meant = [f"{when} {score}", f"{when} val/{score}"]
    else:
        meant = [word, f"best val/{word}", f"best {word}", f"last {word}"]
    if found := [name for name in meant if name in known]:
        return found[0]
    if ends := [name for name in known if name.endswith((f"/{word}", f".{word}"))]:
        return ends[0]
    columns = ", ".join(comparison.columns)
    raise ConfigError(f"{option}: there is no column '{word}'{nearest(word, known) or f'; there is {columns}'}")


def meaning(word: str, comparison: Comparison, option: str) -> str:
    """Return which of two epochs a score's bare name means, "" where there is one column only. Raises ConfigError."""
    column = known_column(word, comparison, option)
    when, space, score = column.partition(" ")
    other = f"last {score}"
    if when != "best" or not space or word.startswith("best") or other not in comparison.columns:
        return ""
    short = score.removeprefix("val/")
    return f"{option}: {word} is that of the best checkpoint's epoch (best/{short}); last/{short} is the last epoch's"


def meanings(comparison: Comparison, conditions: Sequence[str], by: str | None) -> list[str]:
    """Return what the bare names of scores in --filter and --sort mean, a sentence each. Raises ConfigError."""
    found = [match for one in conditions if (match := _CONDITION.fullmatch(one.strip()))]
    words = [("--filter", match[1].strip()) for match in found] + [("--sort", by)] * bool(by)
    told = [meaning(word, comparison, option) for option, word in words if word]
    return [one for one in dict.fromkeys(told) if one]


def filtered(comparison: Comparison, conditions: Sequence[str]) -> list[Row]:
    """Return the rows that meet all conditions, e.g. `val/accuracy>0.9`, `model.name=resnet18`, `status=finished`.

    A condition without a sign is a text that the run's name or settings must contain. Raises ConfigError.
    """
    rows = comparison.rows
    for condition in conditions:
        found = _CONDITION.fullmatch(condition.strip())
        if found is None:
            rows = [row for row in rows if condition.lower() in text_of(row).lower()]
            continue
        word, sign, wanted = found.groups()
        column = known_column(word.strip(), comparison, "--filter")
        rows = [row for row in rows if _meets(row.value(column), sign, wanted)]
    return rows


def text_of(row: Row) -> str:
    """Return what a search looks through: the run's name, status and settings."""
    settings = " ".join(f"{path}={value}" for path, value in row.settings.items())
    return f"{row.run.name} {row.run.status} {settings}"


def _meets(value: Value, sign: str, wanted: str) -> bool:
    if value is None:
        return False
    left, right = _as_number(value), _as_number(wanted)
    if left is not None and right is not None:
        return _SIGNS[sign](left, right)
    return _SIGNS[sign](str(value), wanted)


def _as_number(value: Value) -> float | None:
    try:
        return float(value) if value is not None else None
    except ValueError:
        return None


def ordered(comparison: Comparison, by: str | None, falls: bool = False) -> list[Row]:
    """Return the rows in the order of a column; falls: the greatest first; rows without a value come last either way.

    Without a column: the best validation score first, the runs of one set of images together. Raises ConfigError.
    """
    together = by is None
    if by is None:
        by = next((name for name in comparison.scores if name.startswith("best ")), "run")
        falls = falls != (by != "run" and higher_is_better(by))
    column = known_column(by, comparison, "--sort")
    with_value = [row for row in comparison.rows if _is_value(row.value(column))]
    without = [row for row in comparison.rows if not _is_value(row.value(column))]
    numeric = all(_as_number(row.value(column)) is not None for row in with_value)

    def place(row: Row) -> Any:
        return _as_number(row.value(column)) if numeric else str(row.value(column))

    found = sorted(with_value, key=place, reverse=falls)
    if together and by != "run":
        sets = list(dict.fromkeys(row.measured_on for row in found))
        found.sort(key=lambda row: sets.index(row.measured_on))
    return found + without


def _is_value(value: Value) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))
