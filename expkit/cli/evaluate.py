"""expkit evaluate: scores trained models on their own validation data or any other."""

import sys
from collections.abc import Sequence

from expkit.cli.arguments import model_options, speed_options
from expkit.cli.commands import command_parser
from expkit.core.command_parser import CommandParser
from expkit.core.process import importing, mistakes_reported, refuse_torchrun
from expkit.core.user_folders import expanded


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    with mistakes_reported():
        given = parser().parse_intermixed_args(arguments)
        # An argument with = is an override, unless a folder has that name.
        is_override = [("=" in word and not expanded(word).exists()) for word in given.runs]
        runs = [word for word, yes in zip(given.runs, is_override, strict=True) if not yes]
        overrides = [word for word, yes in zip(given.runs, is_override, strict=True) if yes]
        refuse_torchrun()
        with importing():
            from expkit.config.plugins import load_plugins
            from expkit.core.errors import ConfigError
            from expkit.data.workers import WorkerFailed
            from expkit.inference.evaluate.many_runs import evaluate_all

        if not runs:
            raise ConfigError("runs: none given; name run folders, checkpoints, or a folder of runs")
        for option in ("batch_size", "top_k"):
            if getattr(given, option) is not None and getattr(given, option) < 1:
                raise ConfigError(f"--{option.replace('_', '-')}: expected an integer from 1 up")
        load_plugins(given.plugin)
        try:
            bad = evaluate_all(runs, overrides, given)
        except WorkerFailed as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)
    sys.exit(1 if bad else 0)


def parser() -> CommandParser:
    """Return the parser of the command."""
    made = command_parser("evaluate", "Without overrides each run is scored on its own data.")
    add = made.add_argument
    add("runs", metavar="RUN|dataset.KEY=VALUE", nargs="*", help="run folders, folders of runs, checkpoints; overrides")
    add("--split", choices=("val", "train", "test"), default="val", help="part of the data (val)")
    add("--top-k", type=int, metavar="K", help="also score top-K accuracy (5)")
    add("--output", type=expanded, metavar="FOLDER", help="folder of the CSV and the figures (outputs/...)")
    model_options(made)
    speed_options(made)
    return made
