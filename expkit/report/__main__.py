"""python -m expkit.report RUN ...: makes report.html anew, also of a run that goes on, failed or was killed."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from expkit.report.read import is_run
from expkit.report.write import write_report


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Exit codes: 0 done, 2 a user's mistake."""
    parser = argparse.ArgumentParser(prog="python -m expkit.report", description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN", type=Path, help="a run folder, e.g. outputs/RUN")
    failed = False
    for folder in parser.parse_args(arguments).runs:
        if not is_run(folder):
            print(f"error: {folder}: is no run folder; give one such as outputs/NAME_DATE_TIME", file=sys.stderr)
            failed = True
            continue
        try:
            print(write_report(folder))
        except OSError as error:
            print(f"error: {folder}: the report cannot be written: {error.strerror}", file=sys.stderr)
            failed = True
    sys.exit(2 if failed else 0)


if __name__ == "__main__":
    main()
