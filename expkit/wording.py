"""How messages name a number of things: `1 step`, `2,000 steps`, `1.76 MFLOPs`."""


def counted(number: int, one: str, many: str = "") -> str:
    """Return `1 file`, `2,000 files` or `2 classes`. many: where neither s nor es makes the plural."""
    ending = "es" if one.endswith(("s", "x", "tch", "nch", "sh")) else "s"  # batches and branches, but epochs
    return f"{number:,} {one if number == 1 else many or one + ending}"


def operations(count: float) -> str:
    """Return a number of floating-point operations in the unit that fits it: `1.76 MFLOPs`."""
    power = next((power for power in (12, 9, 6, 3) if count >= 0.9995 * 10**power), 0)
    unit = {12: "T", 9: "G", 6: "M", 3: "k", 0: ""}[power]
    return f"{count / 10**power:.3g} {unit}FLOPs"
