"""python -m expkit evaluate: how good trained models are, on any data."""

import argparse
import sys
from collections.abc import Sequence

from expkit.cli.arguments import model_options, speed_options
from expkit.core.process import importing, mistakes_told, refuse_torchrun
from expkit.core.user_folders import expanded

_ABOUT = "Scores runs, or all runs in a folder, on their own validation data or on other data: dataset=CHOICE ..."
_EXIT = "Exit code: 0 done, 1 some images could not be read (each is named), 2 a mistake in the command."


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Exit codes: 0 done, 1 some files could not be read, 2 a user's mistake, 130 Ctrl+C."""
    parser = _parser()
    given = parser.parse_intermixed_args(arguments)
    # A word with a = is an override, unless a folder has that name.
    is_override = [("=" in word and not expanded(word).exists()) for word in given.words]
    runs = [word for word, yes in zip(given.words, is_override, strict=True) if not yes]
    overrides = [word for word, yes in zip(given.words, is_override, strict=True) if yes]
    with mistakes_told():
        refuse_torchrun()
        with importing():
            from expkit.config.plugins import load_plugins
            from expkit.core.errors import ConfigError
            from expkit.data.workers import WorkerFailed
            from expkit.inference.evaluate.many_runs import evaluate_all

        if not runs:
            raise ConfigError("runs: none given; name run folders, checkpoints, or a folder of runs")
        for option in ("batch_size", "top_k"):
            if getattr(given, option) < 1:
                raise ConfigError(f"--{option.replace('_', '-')}: takes a whole number from 1 up")
        load_plugins(given.plugin)
        try:
            bad = evaluate_all(runs, overrides, given)
        except WorkerFailed as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)
    sys.exit(1 if bad else 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m expkit evaluate", description=_ABOUT, epilog=_EXIT, allow_abbrev=False)
    parser.add_argument("words", metavar="RUN | dataset=CHOICE | dataset.KEY=VALUE", nargs="+")
    parser.add_argument("--split", choices=("val", "train", "test"), default="val", help="which part of the data (val)")
    parser.add_argument("--top-k", type=int, default=5, metavar="K", help="also count the truth among the K best (5)")
    parser.add_argument(
        "--output", type=expanded, metavar="FOLDER", help="where the CSV and the pictures go (outputs/...)"
    )
    model_options(parser)
    speed_options(parser)
    return parser
