"""argparse whose mistakes are messages like all others: one sentence with the nearest flag or choice, exit code 2."""

import argparse
import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from expkit.core.errors import ConfigError, nearest

# What argparse says, without its subject, and what is said instead.
_MESSAGES = (
    (r"invalid int value: ('.*')", r"expected an integer, got \1"),
    (r"invalid float value: ('.*')", r"expected a number, got \1"),
    (r"expected one argument", "expected a value"),
    (r"expected at least one argument", "expected at least one value"),
    (r"ignored explicit argument ('.*')", r"takes no value, got \1"),
)


class CommandParser(argparse.ArgumentParser):
    """A parser that raises ConfigError where argparse prints its usage and exits.

    takes_overrides: whether the words that it does not know are overrides and flags of Hydra.
    """

    def __init__(self, prog: str, takes_overrides: bool = False, allow_abbrev: bool = False, **more: Any) -> None:
        super().__init__(prog=prog, allow_abbrev=allow_abbrev, **more)
        self.takes_overrides = takes_overrides

    @property
    def flags(self) -> dict[str, argparse.Action]:
        """Return every flag, in all its spellings, with its action."""
        return dict(self._option_string_actions)

    @property
    def positionals(self) -> list[argparse.Action]:
        """Return what is given by its place, in order."""
        return [action for action in self._actions if not action.option_strings]

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError for a mistake that argparse has found."""
        text, hint = self._sentence(message)
        raise ConfigError(f"{text}{hint}{' See' if hint else '; see'} `{self.prog} --help`")

    def _sentence(self, message: str) -> tuple[str, str]:
        """Return (what is wrong and where, a hint at the nearest name or nothing)."""
        if found := re.fullmatch(r"unrecognized arguments: (\S+).*", message, re.S):
            word = found[1]
            if word.startswith("-"):
                return f"{word}: unknown flag", nearest_flag(word.partition("=")[0], self.flags)
            return f"'{word}': unexpected argument", ""
        if found := re.fullmatch(r"the following arguments are required: (.*)", message, re.S):
            optional = [one.metavar for one in self.positionals if one.nargs == "*"]  # named too by intermixed parsing
            return f"{', '.join(name for name in found[1].split(', ') if name not in optional)}: missing", ""
        found = re.fullmatch(r"argument (.+?): (.*)", message, re.S)
        if not found:
            return message, ""
        subject, text = found[1].split("/")[-1 if found[1].startswith("--") else 0], found[2]
        action = next((one for one in self._actions if "/".join(one.option_strings) == found[1]), None)
        if action and action.choices and (choice := re.match(r"invalid choice: '(.*?)' \(", text)):
            choices = [str(one) for one in action.choices]
            return f"{subject}: expected {_either(choices)}, got '{choice[1]}'", nearest(choice[1], choices)
        for pattern, instead in _MESSAGES:
            text = re.sub(pattern, instead, text, flags=re.S)
        return f"{subject}: {text}", ""


def nearest_flag(flag: str, flags: Iterable[str]) -> str:
    """Return `; did you mean '--x'?` for the nearest flag there is, or nothing."""
    near = difflib.get_close_matches(flag, [one for one in flags if one.startswith("--")], n=1, cutoff=0.7)
    return f"; did you mean '{near[0]}'?" if near else ""


def _either(choices: Sequence[str]) -> str:
    return choices[0] if len(choices) == 1 else f"{', '.join(choices[:-1])} or {choices[-1]}"
