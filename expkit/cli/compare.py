"""expkit compare: compares the configs and the results of runs."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from expkit.cli.commands import command_parser
from expkit.core.command_parser import CommandParser
from expkit.core.errors import ConfigError
from expkit.core.files import writing
from expkit.core.formatting import count_noun
from expkit.core.process import mistakes_reported
from expkit.core.run_folder import find_run_folders
from expkit.core.user_folders import expanded


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    with mistakes_reported():
        _compare(parser().parse_intermixed_args(arguments))


def parser() -> CommandParser:
    """Return the parser of the command."""
    made = command_parser("compare")
    add = made.add_argument
    add("runs", nargs="+", metavar="RUN", type=expanded, help="run folders, or folders of runs")
    add("--sort", metavar="COLUMN", help="e.g. best/loss, last/loss, optimizer.lr (the best run first)")
    add("--reverse", action="store_true", help="the greatest first")
    condition = "e.g. 'best/accuracy>0.9', model.name=resnet18; may be repeated"
    add("--filter", action="append", default=[], metavar="CONDITION", help=condition)
    add("--csv", metavar="FILE", help="write the table to a file, - for standard output")
    add("--html", metavar="FILE", type=expanded, help="path of the page (beside the runs)")
    return made


def _compare(given: argparse.Namespace) -> None:
    from expkit.core.terminal import Console
    from expkit.records.compare.filter import filtered, meanings, ordered
    from expkit.records.compare.output import print_comparison, write_csv
    from expkit.records.compare.table import among, compare

    folders, empty = find_run_folders(given.runs)
    if not folders:
        where = ", ".join(map(str, empty))
        raise ConfigError(f"{where}: there is no run in it; give run folders, or a folder that holds some (outputs)")
    comparison = compare(folders)
    notes = meanings(comparison, given.filter, given.sort)
    comparison = among(filtered(comparison, given.filter))
    if not comparison.rows:
        raise ConfigError(f"--filter: none of {count_noun(len(folders), 'run')} meets {' and '.join(given.filter)}")
    comparison.rows = ordered(comparison, given.sort, given.reverse)
    for note in notes:  # beside the table, which may be read by a program
        print(note, file=sys.stderr)
    if given.csv == "-":
        write_csv(sys.stdout, comparison)
        return
    console = Console()
    if not console.is_terminal:  # a pipe or file has no edge
        console.width = 10_000
    print_comparison(console, comparison)
    page = _write(comparison, folders, given)
    for empty_path in empty:
        console.print(f"no run in {empty_path}", soft_wrap=True, style="yellow")
    written = [str(page)] + [given.csv] * bool(given.csv)
    console.print(f"see     {', '.join(written)}", soft_wrap=True, markup=False)


def _write(comparison: Any, folders: Sequence[Path], given: argparse.Namespace) -> Path:
    """Write a Comparison as a page, and as CSV where asked for; returns the page's path. Raises ConfigError."""
    from expkit.records.compare.output import page_of, write_csv

    parent = Path(os.path.commonpath([folder.parent.absolute() for folder in folders]))
    page = given.html or Path(os.path.relpath(parent / "compare.html"))
    try:
        with writing(page):
            page.write_text(page_of(comparison, page.parent), encoding="utf-8", errors="replace")
        if given.csv:
            with (
                writing(given.csv),
                open(given.csv, "w", encoding="utf-8", errors="backslashreplace", newline="") as file,
            ):
                write_csv(file, comparison)
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be written: {error.strerror}; give another place") from error
    return page
