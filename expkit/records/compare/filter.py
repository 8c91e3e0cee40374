"""Filter and sort runs: --filter and --sort."""

import math
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

from expkit.core.errors import ConfigError, nearest
from expkit.records.compare.table import Comparison, Row, Value

_CONDITION = re.compile(r"(.+?)\s*(<=|>=|!=|=|<|>)\s*(.*)")
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt, "=": operator.eq, "!=": operator.ne,
}  # fmt: skip


def known_column(name: str, comparison: Comparison, option: str) -> str:
    """Return the column named by a name, its last part, best/SCORE or last/SCORE. Raises ConfigError."""
    known = [*comparison.columns, *dict.fromkeys(path for row in comparison.rows for path in row.settings)]
    when, slash, score = name.replace(" ", "/").partition("/")
    if slash and when in ("best", "last"):
        meant = [f"{when} {score}", f"{when} val/{score}"]
    else:
        meant = [name, f"best val/{name}", f"best {name}", f"last {name}"]
    if found := [one for one in meant if one in known]:
        return found[0]
    if ends := [one for one in known if one.endswith((f"/{name}", f".{name}"))]:
        return ends[0]
    columns = ", ".join(comparison.columns)
    raise ConfigError(f"{option}: there is no column '{name}'{nearest(name, known) or f'; there is {columns}'}")


def meaning(name: str, comparison: Comparison, option: str) -> str:
    """Return which of two epochs a score's bare name means, "" if there is one column only. Raises ConfigError."""
    column = known_column(name, comparison, option)
    when, space, score = column.partition(" ")
    other = f"last {score}"
    if when != "best" or not space or name.startswith("best") or other not in comparison.columns:
        return ""
    short = score.removeprefix("val/")
    return f"{option}: {name} is of the best checkpoint's epoch (best/{short}); last/{short} is the last epoch's"


def meanings(comparison: Comparison, conditions: Sequence[str], by: str | None) -> list[str]:
    """Return a sentence on each ambiguous score in --filter and --sort. Raises ConfigError."""
    found = [match for one in conditions if (match := _CONDITION.fullmatch(one.strip()))]
    names = [("--filter", match[1].strip()) for match in found] + [("--sort", by)] * bool(by)
    notes = [meaning(name, comparison, option) for option, name in names if name]
    return [note for note in dict.fromkeys(notes) if note]


def filtered(comparison: Comparison, conditions: Sequence[str]) -> list[Row]:
    """Return the rows that meet all conditions, e.g. `val/accuracy>0.9`, `model.name=resnet18`, `status=finished`.

    A condition without an operator is a text that the run's name or settings must contain. Raises ConfigError.
    """
    rows = comparison.rows
    for condition in conditions:
        found = _CONDITION.fullmatch(condition.strip())
        if found is None:
            rows = [row for row in rows if condition.lower() in text_of(row).lower()]
            continue
        name, sign, wanted = found.groups()
        column = known_column(name.strip(), comparison, "--filter")
        rows = [row for row in rows if _meets(row.value(column), sign, wanted)]
    return rows


def text_of(row: Row) -> str:
    """Return the text that a search covers: the run's name, status and settings."""
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
    """Return the rows sorted by a column, rows without a value last. falls: in descending order. Raises ConfigError.

    Without a column: the best validation score first, grouped by evaluated images.
    """
    together = by is None
    if by is None:
        by = next((name for name in comparison.scores if name.startswith("best ")), "run")
        falls = falls != (by != "run" and comparison.higher_is_better(by))
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
