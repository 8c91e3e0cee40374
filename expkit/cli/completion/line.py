"""The words that may stand at the end of a command line: commands, flags, their values, runs, overrides."""

import argparse
import re
from collections.abc import Callable, Sequence
from itertools import pairwise

from expkit.cli.commands import COMMANDS, module_of
from expkit.cli.completion.places import records, runs
from expkit.config.completion.overrides import complete_override, registered_names
from expkit.config.hydra_flags import hydra_parser
from expkit.core.command_parser import CommandParser

_PLACES: dict[str, Callable[[str], list[str]]] = {"RUN": runs, "RECORD": records}  # by metavar
_RUN_OPTION = re.compile(r"(checkpoint\.(?:resume|init_from)=)(.*)")


def complete(line: str) -> list[str]:
    """Return the words that may stand at the end of a command line, whole, as they would be typed."""
    words = line.split()
    current = words.pop() if words and not line[-1].isspace() else ""
    if words[1:3] == ["-m", "expkit.run"]:
        return sorted(_of_command("run", words[3:], current))
    words = words[3 if words[1:3] == ["-m", "expkit"] else 1 :]
    name = words[0].replace("_", "-") if words else ""
    if name in COMMANDS:
        return sorted(_of_command(name, words[1:], current))
    commands = [] if words else [name for name in COMMANDS if name.startswith(current)]
    return sorted({*commands, *_of_command("run", words, current)})


def _of_command(name: str, words: Sequence[str], current: str) -> list[str]:
    parser = module_of(name).parser()
    flags = dict(parser.flags)
    if parser.takes_overrides:
        flags |= hydra_parser().flags
    before = flags.get(words[-1]) if words else None
    if "--list" in words:
        asked = words[words.index("--list") + 1 :]
        return [one for one in registered_names(asked) if one.startswith(current)]
    if before and before.nargs != 0:
        return [value for value in _values(before) if value.startswith(current)]
    if current.startswith("-"):
        return _flags(flags, current)
    given = _without_flags(words, flags)
    return _of_place(parser, given, current, words)


def _flags(flags: dict[str, argparse.Action], current: str) -> list[str]:
    """Return the long flags, or the values of one: `--to=onnx`."""
    name, equals, _ = current.partition("=")
    found = [f"{name}={value}" for value in _values(flags[name])] if equals and name in flags else list(flags)
    return [flag for flag in found if flag.startswith("--") and flag.startswith(current)]


def _values(action: argparse.Action) -> list[str]:
    """Return the values of a flag, if they are few; the shell itself completes files."""
    return [str(choice) for choice in action.choices or ()]


def _without_flags(words: Sequence[str], flags: dict[str, argparse.Action]) -> list[str]:
    """Return the words that are neither flags nor the value of one."""
    values = {place + 1 for place, word in enumerate(words) if (flag := flags.get(word)) and flag.nargs != 0}
    return [word for place, word in enumerate(words) if place not in values and not word.startswith("-")]


def _of_place(parser: CommandParser, given: Sequence[str], current: str, words: Sequence[str]) -> list[str]:
    """Return what the argument at this place may be: its metavar names it."""
    metavars = [str(action.metavar) for action in parser.positionals] or ["KEY=VALUE"] * parser.takes_overrides
    place = min(len(given), len(metavars) - 1)
    found = []
    for kind in metavars[place].split("|") if metavars else ():
        if kind in _PLACES:
            found += _PLACES[kind](current)
        elif "=" in kind:
            group = re.split(r"[.=]", kind)[0]
            offered = _overrides([word for word in given if "=" in word], current, words)
            found += [one for one in offered if group == "KEY" or re.match(rf"\+?{group}[.=/]", one)]
    return found


def _overrides(overrides: Sequence[str], current: str, words: Sequence[str]) -> list[str]:
    if found := _RUN_OPTION.fullmatch(current):
        return [f"{found[1]}{place}" for place in runs(found[2])]
    plugins = [word for flag, word in pairwise(words) if flag == "--plugin"]
    return complete_override(overrides, current, plugins, is_sweep="-m" in words or "--multirun" in words)
