"""Text of numbers and paths, as users read it."""

from pathlib import Path


def relative(path: Path) -> str:
    """Return a path as a user types it: relative to where the command was given, if it lies below."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
