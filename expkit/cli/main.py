"""The command `expkit COMMAND …`, also as `python -m expkit COMMAND …`."""

import sys
from collections.abc import Sequence

from expkit.cli.commands import COMMANDS, module_of, table
from expkit.core.errors import ConfigError, nearest
from expkit.core.process import mistakes_reported, run_as_program

_USAGE = "usage: expkit COMMAND …, or python -m expkit COMMAND …; `expkit COMMAND --help` shows its options"
_EXIT_CODES = "Exit codes: 0 done, 1 failed, 2 a mistake in the command, 130 Ctrl+C, 143 SIGTERM."


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command. Overrides or flags without a command are those of `run`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "help"):
        print(f"{_USAGE}\n\n{table()}\n\n{_EXIT_CODES}")
        return
    name = given[0].replace("_", "-")
    if name in COMMANDS:
        given = given[1:]
    elif given[0].startswith("-") or "=" in given[0]:
        name = "run"
    else:
        with mistakes_reported():
            raise ConfigError(f"expkit: unknown command '{given[0]}'{nearest(name, COMMANDS)}; see `expkit --help`")
    module_of(name).main(given)


def program() -> None:
    """Be the command `expkit`."""
    run_as_program(main)
