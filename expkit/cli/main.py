"""The command `expkit COMMAND …`, also as `python -m expkit COMMAND …`: one table of its subcommands."""

import importlib
import sys
from collections.abc import Sequence

from expkit.core.errors import ConfigError, nearest
from expkit.core.process import mistakes_told, run_as_program

COMMANDS = {  # name: the module that holds its main(arguments), and what it does
    "run": ("expkit.cli.run", "train what a config describes, once or as a sweep"),
    "predict": ("expkit.cli.predict", "the classes of images, by a trained model"),
    "evaluate": ("expkit.cli.evaluate", "how good trained models are, on any data"),
    "export": ("expkit.cli.export", "a trained model for other programs, verified on real images"),
    "compare": ("expkit.cli.compare", "what differs between runs, in their configs and in their results"),
    "folds": ("expkit.cli.folds", "the scores of k-fold cross-validation, with mean and standard deviation"),
    "report": ("expkit.cli.report", "a run's report.html, made anew"),
    "reproduce": ("expkit.cli.reproduce", "a shared record, run again and compared"),
    "doctor": ("expkit.cli.doctor", "examine a data set and this machine before training"),
    "find-lr": ("expkit.cli.find_lr", "suggest a learning rate by a range test"),
    "replay": ("expkit.cli.replay", "send a finished run's points to any logger"),
    "new": ("expkit.cli.new", "a project folder of your own, which trains at once"),
    "visdom": ("expkit.cli.visdom", "start a Visdom server for this machine"),
}
_EXIT_CODES = "Exit codes: 0 done, 1 failed, 2 a mistake in the command, 130 Ctrl+C, 143 SIGTERM."


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a subcommand. Overrides or flags without a subcommand are those of `run`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "help"):
        print(_help())
        return
    name = given[0].replace("_", "-")
    if name in COMMANDS:
        given = given[1:]
    elif given[0].startswith("-") or "=" in given[0]:
        name = "run"
    else:
        with mistakes_told():
            raise ConfigError(f"expkit: unknown command '{given[0]}'{nearest(name, COMMANDS)}; see `expkit --help`")
    importlib.import_module(COMMANDS[name][0]).main(given)


def _help() -> str:
    lines = [f"  {name:11}{about}" for name, (_, about) in COMMANDS.items()]
    usage = "usage: expkit COMMAND …, or python -m expkit COMMAND …; `expkit COMMAND --help` shows its options"
    return "\n".join([usage, "", *lines, "", _EXIT_CODES])


def program() -> None:
    """Be the command `expkit`."""
    run_as_program(main)
