"""The flags of a command line that Hydra knows, parsed or refused. Imports no Hydra: completion asks it too."""

import argparse
import re
from collections.abc import Sequence

from expkit.core.command_parser import CommandParser, nearest_flag
from expkit.core.errors import ConfigError
from expkit.core.escaping import as_override
from expkit.core.user_folders import expanded


def hydra_parser() -> CommandParser:
    """Return a parser of the flags that Hydra knows."""
    parser = CommandParser("expkit run", add_help=False, allow_abbrev=True)
    parser.add_argument("overrides", nargs="*")
    for names in ("--help -h", "--hydra-help", "--resolve", "--run -r", "--multirun -m"):
        parser.add_argument(*names.split(), action="store_true")
    for names in ("--package -p", "--config-path -cp", "--config-name -cn", "--config-dir -cd", "--experimental-rerun"):
        parser.add_argument(*names.split())
    parser.add_argument("--cfg", "-c", choices=["job", "hydra", "all"])
    kinds = ["all", "config", "defaults", "defaults-tree", "plugins", "searchpath"]
    parser.add_argument("--info", "-i", nargs="?", const="all", choices=kinds)
    return parser


def parse(arguments: Sequence[str], command: CommandParser | None = None) -> tuple[list[str], argparse.Namespace]:
    """Return a command line with its overrides first, where Hydra reads them all, and parsed. Raises ConfigError."""
    parsed, unknown = hydra_parser().parse_known_intermixed_args(arguments)
    unknown = [*unknown, *(word for word in parsed.overrides if word.startswith("--") and word != "--")]
    if unknown:
        raise ConfigError(f"{unknown[0]}: unknown flag{_meant(unknown[0], command)}")
    _refuse_flags(parsed)
    flags = [word for word in arguments if word not in (*parsed.overrides, "--")]
    folders = re.compile(r"(--config-(?:dir|path)|-c[dp])=(.*)", re.S)
    flags = [f"{found[1]}={expanded(found[2])}" if (found := folders.fullmatch(word)) else word for word in flags]
    return [*parsed.overrides, *flags], parsed


def flags_of_place(arguments: Sequence[str]) -> list[str]:
    """Return the flags of a command line that say where the config is: a command that is printed needs them too."""
    given = hydra_parser().parse_known_intermixed_args(list(arguments))[0]
    named = {name: getattr(given, f"config_{name}") for name in ("dir", "name", "path")}
    return [f"--config-{name}={value}" for name, value in named.items() if value]


def _refuse_flags(parsed: argparse.Namespace) -> None:
    if parsed.experimental_rerun:
        raise ConfigError("--experimental-rerun: loads a pickle, which can run code; give the overrides again")
    asked = [flag for flag in ("run", "multirun", "cfg", "info") if getattr(parsed, flag)]
    if len(asked) > 1:
        raise ConfigError(f"command line: give one of {' and '.join('--' + flag for flag in asked)} at a time")
    if parsed.resolve and not (parsed.cfg or parsed.help):
        raise ConfigError("--resolve: goes with --cfg or --help; add one of them")


def _meant(flag: str, command: CommandParser | None) -> str:
    """Return a hint at what an unknown flag means: an override without its dashes, or the nearest flag."""
    from expkit.config.compose import nearest_key
    from expkit.config.hydra_loader import top_keys

    name, _, value = flag.partition("=")
    key = name.lstrip("-").replace("-", "_")
    if key.partition(".")[0] in top_keys():
        typed = f"{key}={value or '…'}" if re.fullmatch(r"[\w./+-]*", value) else as_override(key, value)
        return f"; an override has no dashes: {typed}"
    parsers = [hydra_parser(), *filter(None, [command])]
    if near := nearest_flag(name, [flag for parser in parsers for flag in parser.flags]):
        return near
    return nearest_key(key, value or None) or f"; see `{command.prog if command else 'expkit run'} --help`"
