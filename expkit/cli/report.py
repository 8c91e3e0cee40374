"""python -m expkit report RUN ...: makes report.html anew, also of a run that goes on, failed or was killed."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from expkit.core.process import mistakes_told
from expkit.core.run_folder import is_run_folder
from expkit.core.user_folders import expanded
from expkit.records.report.report import write_report


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Exit codes: 0 done, 2 a user's mistake."""
    parser = argparse.ArgumentParser(prog="python -m expkit report", description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN", type=expanded, help="a run folder, e.g. outputs/RUN")
    runs = parser.parse_intermixed_args(arguments).runs
    with mistakes_told():
        failed = [folder for folder in runs if not _report(folder)]
    sys.exit(2 if failed else 0)


def _report(folder: Path) -> bool:
    """Make the report of one run, and return whether it is written."""
    if not is_run_folder(folder):
        print(f"error: {folder}: is no run folder; give one such as outputs/NAME_DATE_TIME", file=sys.stderr)
        return False
    try:
        print(write_report(folder))
    except OSError as error:
        print(f"error: {folder}: the report cannot be written: {error.strerror}", file=sys.stderr)
        return False
    return True
