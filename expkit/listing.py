"""--list: every word of a group with its one-line doc, or one word's options."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from expkit.registry import GROUPS, ConfigError, mixings, nearest
from expkit.signature import Option, describe

LISTED = GROUPS | {mixings.group: mixings}


def show(words: Sequence[str]) -> None:
    """Print the groups, a group's words, or a word's options. Raises ConfigError for an unknown group or word."""
    console = Console()
    if not words:
        console.print("groups: " + ", ".join(LISTED))
        return
    group = words[0]
    if group not in LISTED:
        raise ConfigError(
            f"--list: there is no group '{group}'{nearest(group, LISTED) or '; there is ' + ', '.join(GROUPS)}"
        )
    console.print(_options(group, words[1]) if len(words) > 1 else _names(group), soft_wrap=True)


def _names(group: str) -> Table:
    registry = LISTED[group]
    table = Table("name", "from", "what it is", box=None, padding=(0, 2, 0, 0))
    for name in registry.names():
        entry = registry.entry(name)
        table.add_row(name, entry.source, entry.doc)
    return table


def _options(group: str, name: str) -> Table:
    registry = LISTED[group]
    table = Table("option", "takes", "default", box=None, padding=(0, 2, 0, 0), title=registry.entry(name).doc)
    for option in registry.options(name).values():
        table.add_row(option.name, describe(option.annotation), _default(option))
    return table


def _default(option: Option) -> str:
    if option.required:
        return "(needed)"
    empty = repr(option.default) == "<factory>"  # a dataclass field that begins as an empty list or mapping
    return "null" if option.default is None else "(empty)" if empty else str(option.default)
