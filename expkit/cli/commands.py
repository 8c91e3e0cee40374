"""The table of commands: what each does, and what its exit code 1 means. Help and completion are made from it."""

import importlib
from dataclasses import dataclass
from typing import Any

from expkit.core.command_parser import CommandParser


@dataclass(frozen=True)
class Command:
    """A row of the table. failed: what exit code 1 means, nothing where there is none."""

    about: str
    failed: str = ""


COMMANDS = {  # each is a module of this room with parser() and main(arguments)
    "run": Command("train what a config describes, once or as a sweep", "a run failed"),
    "predict": Command("predict the classes of images with a trained model", "some images cannot be read"),
    "evaluate": Command("score trained models on their own validation data or any other", "some images cannot be read"),
    "export": Command("write a trained model for other programs and verify it on images", "the results differ"),
    "compare": Command("compare the configs and the results of runs"),
    "folds": Command("average the scores of k-fold cross-validation"),
    "report": Command("write the report.html of runs again, whatever their state"),
    "reproduce": Command("run a shared record again and compare", "not the same, or edited"),
    "doctor": Command("check a data set and this machine before training", "something should be fixed"),
    "find-lr": Command("suggest a learning rate by a range test", "no learning rate found"),
    "replay": Command("send the points and figures of a finished run to any logger", "a logger failed"),
    "new": Command("create a project with a data set and a model of your own, ready to train"),
    "visdom": Command("start a Visdom server for this machine, with or without internet"),
}


def module_of(name: str) -> Any:
    """Return the module of a command."""
    return importlib.import_module(f"expkit.cli.{name.replace('-', '_')}")


def command_parser(name: str, more: str = "", **named: Any) -> CommandParser:
    """Return a parser without arguments whose help shows what the table knows. more: a text for the end of the help."""
    about, failed = COMMANDS[name].about, COMMANDS[name].failed
    if named.get("takes_overrides"):
        named["usage"] = "%(prog)s [options] [GROUP=CHOICE ...] [KEY=VALUE ...]"
        more = f"All other arguments are overrides and flags of `expkit run`. {more}"
    codes = f"Exit codes: 0 done, {f'1 {failed}, ' * bool(failed)}2 a mistake in the command, 130 Ctrl+C."
    about = f"{about[0].upper()}{about[1:]}."
    return CommandParser(f"expkit {name}", description=about, epilog=f"{more} {codes}".strip(), **named)


def table() -> str:
    """Return the commands and what each does, a line each."""
    return "\n".join(f"  {name:11}{command.about}" for name, command in COMMANDS.items())
