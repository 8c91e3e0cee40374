"""Which runs are shown, and in which order: --filter and --sort."""

import math
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

from expkit.compare.runs import Comparison, Row, Value, is_lower_better
from expkit.registry import ConfigError, nearest

_CONDITION = re.compile(r"(.+?)\s*(<=|>=|!=|=|<|>)\s*(.*)")
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt, "=": operator.eq, "!=": operator.ne,
}  # fmt: skip


def known_column(word: str, comparison: Comparison, option: str) -> str:
    """Return the column that a word means: its name, or the end of one's. Raises ConfigError."""
    known = [*comparison.columns, *dict.fromkeys(path for row in comparison.rows for path in row.settings)]
    ends = [name for name in known if name == word or name.endswith((f"/{word}", f".{word}"))]
    if word in known or ends:
        return word if word in known else ends[0]
    columns = ", ".join(comparison.columns)
    raise ConfigError(f"{option}: there is no column '{word}'{nearest(word, known) or f'; there is {columns}'}")


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

    Without a column: the best validation score first. Raises ConfigError.
    """
    if by is None:
        by = next((name for name in comparison.scores if not is_lower_better(name)), "run")
        falls = falls != (by != "run")
    column = known_column(by, comparison, "--sort")
    with_value = [row for row in comparison.rows if _is_value(row.value(column))]
    without = [row for row in comparison.rows if not _is_value(row.value(column))]
    numeric = all(_as_number(row.value(column)) is not None for row in with_value)

    def place(row: Row) -> Any:
        return _as_number(row.value(column)) if numeric else str(row.value(column))

    return sorted(with_value, key=place, reverse=falls) + without


def _is_value(value: Value) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))
