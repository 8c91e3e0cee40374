"""How messages name a number of things: `1 step`, `2,000 steps`, `1.76 MFLOPs`."""

from collections.abc import Mapping
from typing import Any


def counted(number: int, one: str, many: str = "") -> str:
    """Return `1 file`, `2,000 files` or `2 classes`. many: where neither s nor es makes the plural."""
    ending = "es" if one.endswith(("s", "x", "tch", "nch", "sh")) else "s"  # batches and branches, but epochs
    return f"{number:,} {one if number == 1 else many or one + ending}"


def operations(count: float) -> str:
    """Return a number of floating-point operations in the unit that fits it: `1.76 MFLOPs`."""
    power = next((power for power in (12, 9, 6, 3) if count >= 0.9995 * 10**power), 0)
    unit = {12: "T", 9: "G", 6: "M", 3: "k", 0: ""}[power]
    return f"{count / 10**power:.3g} {unit}FLOPs"


def subset_of(config: Mapping[str, Any], images: object) -> str:
    """Return of how many of the validation images a run's scores are, an empty text for all of them.

    What is given may come from a record that was changed by hand.
    """
    limit, size = config.get("limit_eval_batches"), config.get("eval_batch_size") or config.get("batch_size")
    if not isinstance(limit, int) or not isinstance(size, int) or not isinstance(images, int) or limit * size >= images:
        return ""
    return f"{limit * size:,} of {images:,} images"
