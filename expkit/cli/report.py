"""expkit report: writes the report.html of runs again, whatever their state."""

import sys
from collections.abc import Sequence
from pathlib import Path

from expkit.cli.commands import command_parser
from expkit.core.command_parser import CommandParser
from expkit.core.process import mistakes_reported
from expkit.core.run_folder import is_run_folder
from expkit.core.user_folders import expanded


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    with mistakes_reported():
        runs = parser().parse_intermixed_args(arguments).runs
        failed = [folder for folder in runs if not _report(folder)]
    sys.exit(2 if failed else 0)


def parser() -> CommandParser:
    """Return the parser of the command."""
    made = command_parser("report")
    made.add_argument("runs", nargs="+", metavar="RUN", type=expanded, help="run folder, e.g. outputs/RUN")
    return made


def _report(folder: Path) -> bool:
    """Write the report of one run, and return True if it is written."""
    if not is_run_folder(folder):
        print(f"error: {folder}: is no run folder; give one such as outputs/NAME_DATE_TIME", file=sys.stderr)
        return False
    from expkit.records.report.report import write_report

    try:
        print(write_report(folder))
    except OSError as error:
        print(f"error: {folder}: the report cannot be written: {error.strerror}", file=sys.stderr)
        return False
    return True
