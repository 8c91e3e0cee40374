"""expkit folds: averages the scores of k-fold cross-validation."""

from collections.abc import Sequence
from pathlib import Path

from expkit.cli.commands import command_parser
from expkit.core.command_parser import CommandParser
from expkit.core.errors import ConfigError
from expkit.core.process import mistakes_reported
from expkit.core.run_folder import find_run_folders
from expkit.core.user_folders import expanded


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    with mistakes_reported():
        given = parser().parse_intermixed_args(arguments)
        from expkit.records.cross_validation import show_folds

        results = [folder / "result.json" for folder in find_run_folders(given.runs)[0]]
        results = sorted(filter(Path.is_file, results), key=lambda path: path.stat().st_mtime_ns)
        if not show_folds(path.parent for path in results):
            places = ", ".join(map(str, given.runs))
            raise ConfigError(
                f"folds: {places}: there are no two finished folds of one config here;"
                " python -m expkit.run -m 'dataset.fold=range(5)' trains all"
            )


def parser() -> CommandParser:
    """Return the parser of the command."""
    made = command_parser("folds")
    made.add_argument("runs", nargs="+", type=expanded, metavar="RUN", help="run folders, or folders of runs")
    return made
