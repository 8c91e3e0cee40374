"""--list: every registered name of a group with its one-line doc, or one name's options."""

import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from rich.table import Table

from expkit.config.registry import GROUPS, mixings
from expkit.config.signature import Option, describe
from expkit.core.errors import ConfigError, nearest
from expkit.core.terminal import Console

LISTED = GROUPS | {mixings.group: mixings}


def show(words: Sequence[str], conf: Path) -> None:
    """Print the groups, a group's names, or a name's options. Raises ConfigError for an unknown group or name.

    conf: the folder of the package's YAML files, whose comments say what an option does.
    """
    console = Console()
    if not console.is_terminal:
        console.width = 10_000  # a pipe or file has no edge
    if not words:
        console.print("groups: " + ", ".join(LISTED))
        return
    group = words[0]
    if group not in LISTED:
        hint = nearest(group, LISTED) or f"; there is {', '.join(GROUPS)}"
        raise ConfigError(f"--list: there is no group '{group}'{hint}")
    console.print(_options(group, words[1], conf) if len(words) > 1 else _names(group), soft_wrap=True)


def _names(group: str) -> Table:
    registry = LISTED[group]
    registry.load_lazily("")
    table = _table("name", "from", "what it is")
    for name in registry.names():
        entry = registry.entry(name)
        table.add_row(name, entry.source, entry.doc)
    return table


def _options(group: str, name: str, conf: Path) -> Table:
    registry = LISTED[group]
    what = explained(group, name, conf)
    title = registry.entry(name).doc
    table = _table("option", "takes", "default", "what it does")
    table.title, table.title_justify = title, "left"
    for option in registry.options(name).values():
        table.add_row(option.name, describe(option.annotation), _default(option), what[option.name])
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")  # a long value is wrapped, not cut off
    return table


def explained(group: str, name: str, conf: Path) -> dict[str, str]:
    """Return each option of a name -> what it does: its comment in a YAML file, else what a docstring says, or ""."""
    registry, comments = LISTED[group], _comments(group, name, conf)
    return {option: comments.get(option) or registry.about(name, option) for option in registry.options(name)}


def _comments(group: str, name: str, conf: Path) -> dict[str, str]:
    """Return option -> its comment in the group's YAML files, those of the working folder too; this name's win."""
    found: dict[str, str] = {}
    paths = [path for folder in (conf, Path.cwd() / "conf") for path in sorted((folder / group).glob("*.yaml"))]
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in paths]
    for text in sorted(texts, key=lambda text: f"name: {name}\n" in text):
        found |= dict(re.findall(r"^(\w+):.*?\s#\s*(.+)$", text, re.M))
    return found


def _default(option: Option) -> str:
    if option.required:
        return "(needed)"
    empty = repr(option.default) == "<factory>"  # a dataclass field that begins as an empty list or mapping
    return "null" if option.default is None else "(empty)" if empty else str(option.default)


def in_catalogue(group: str, word: str, choices: Collection[str]) -> str:
    """Return `; write …` for a name of a group, or one like it, that has no file in conf/; "" where there is none.

    choices: the files of the group.
    """
    if group not in GROUPS:
        return ""
    GROUPS[group].load_lazily("")
    words = [*GROUPS[group].names(), *choices]
    names = {re.sub("[_-]", "", name).lower(): name for name in words} | {name.lower(): name for name in words}
    found = names.get(word.lower()) or names.get(re.sub("[_-]", "", word).lower(), "")
    if not found and group == "model":
        found = _of_timm(word)
    is_sure = bool(found)
    if not found and (near := nearest(word, names.values())):
        found = near.split("'")[1]
    if not found or found in choices:
        return f"; did you mean '{found}'?" if found else ""
    typed = _as_typed(group, found, choices)
    return f"; write {typed}" if is_sure else f"; did you mean {typed}?"


def _as_typed(group: str, name: str, choices: Collection[str]) -> str:
    """Return what to write for a name that has no file of its own."""
    if group == "watch":
        return f"watch.{name}.every=1"
    if group == "metric":
        return f"+metric.{re.sub('(?<=[a-z0-9])(?=[A-Z])', '_', name).lower()}.name={name}"
    if group == "transforms":
        return f"{{name: {name}}} into the list transforms.train, as in conf/transforms/augment.yaml"
    wanted = ("timm",) if name.startswith("timm/") else ("torchvision", "torch")
    general = next((one for one in wanted if one in choices), "")
    if not general:
        return f"`name: {name}` into conf/{group}/{name}.yaml"
    options = GROUPS[group].options(name)
    more = [f"+{group}.{option}=…" for option, one in options.items() if one.required and option != "root"]
    root = ["dataset.root=FOLDER"] if group == "dataset" and "root" in options else []
    return " ".join([f"{group}={general}", f"{group}.name={name}", *root, *more])


def _of_timm(word: str) -> str:
    """Return timm's name for an architecture, "" where it has none, or is not installed."""
    with suppress(ConfigError, ImportError):
        return GROUPS["model"].entry(f"timm/{word.removeprefix('timm/')}").name
    return ""
