"""python -m expkit folds RUN...: the scores of k-fold cross-validation, with their mean and standard deviation."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from expkit.core.errors import ConfigError
from expkit.core.process import mistakes_told
from expkit.core.run_folder import find_run_folders
from expkit.core.user_folders import expanded
from expkit.records.cross_validation import show_folds


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Exit codes: 0 done, 2 a user's mistake."""
    parser = argparse.ArgumentParser(prog="python -m expkit folds", description=__doc__)
    parser.add_argument("places", nargs="+", type=expanded, metavar="RUN", help="run folders, or folders of them")
    places: list[Path] = parser.parse_intermixed_args(arguments).places
    with mistakes_told():
        results = [folder / "result.json" for folder in find_run_folders(places)[0]]
        results = sorted(filter(Path.is_file, results), key=lambda path: path.stat().st_mtime_ns)
        if not show_folds(path.parent for path in results):
            raise ConfigError(
                "folds: there are no two finished folds of one config here; python -m expkit.run -m"
                " 'dataset.fold=range(5)' trains all"
            )
