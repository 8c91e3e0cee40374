"""Numbers, times and paths as users read them."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def count_noun(number: int, one: str, many: str = "") -> str:
    """Return `1 file`, `2,000 files` or `2 classes`. many: where neither s nor es makes the plural."""
    ending = "es" if one.endswith(("s", "x", "tch", "nch", "sh")) else "s"  # batches and branches, but epochs
    return f"{number:,} {one if number == 1 else many or one + ending}"


_OUTPUTS = {"regression": "number", "reconstruction": "channel"}  # by the kind of the targets; else they are classes
_MOST_NAMED = 6


def named_outputs(names: Sequence[str], kind: object) -> str:
    """Return `2 classes (cat, dog)`, or numbers, or channels; of many the first are named. kind: of the targets."""
    shown = ", ".join(map(str, names[:_MOST_NAMED])) + ", …" * (len(names) > _MOST_NAMED)
    return f"{count_noun(len(names), _OUTPUTS.get(str(kind), 'class'))} ({shown})"


def operations(count: float) -> str:
    """Return a number of floating-point operations in the unit that fits it: `1.76 MFLOPs`."""
    power = next((power for power in (12, 9, 6, 3) if count >= 0.9995 * 10**power), 0)
    unit = {12: "T", 9: "G", 6: "M", 3: "k", 0: ""}[power]
    return f"{count / 10**power:.3g} {unit}FLOPs"


def duration(seconds: float) -> str:
    """Return a time in the two units that matter: `4.2 s`, `48 s`, `3 min 20 s`, `2 h 5 min`, `2 d 3 h`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours == 0:
        return f"{minutes} min {rest} s"
    return f"{hours} h {minutes} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def subset_of(config: Mapping[str, Any], images: object) -> str:
    """Return how many of the validation images a run's scores cover, "" for all of them.

    The arguments may come from a record that was edited by hand.
    """
    limit, size = config.get("limit_eval_batches"), config.get("eval_batch_size") or config.get("batch_size")
    if not isinstance(limit, int) or not isinstance(size, int) or not isinstance(images, int) or limit * size >= images:
        return ""
    return f"{limit * size:,} of {images:,} images"


def is_number(value: object) -> bool:
    """Return True for a number of a file that a float can hold, be it infinite."""
    return isinstance(value, float) or (type(value) is int and abs(value) <= 10**308)


def timestamp(seconds: float | None = None) -> str:
    """Return a time as records hold it, with its offset from UTC; the present one by default."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(seconds))


def relative(path: Path) -> str:
    """Return a path as a user types it: relative to where the command was given, if it lies below."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def value_text(value: object) -> str:
    """Return a value for display: numbers short, null and lists as in YAML."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else str(value)
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
