"""python tests/bench/watch.py: what watching a run costs, and its report; on the built-in job, `--epochs` of it."""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from expkit.config.compose import compose_one, plain
from expkit.loggers.base import RunFacts
from expkit.loggers.jsonl import JsonlLogger
from expkit.runs.build import build
from expkit.training.watch import WatchDispatcher

CALLS = ("begin", "trained_on", "before_update", "begin_evaluation", "judge", "end_evaluation")


def timed(watch: WatchDispatcher, spent: dict[str, float]) -> None:
    """Add the seconds that each of the loop's calls takes to `spent`."""
    for name in CALLS:
        call = getattr(watch, name)

        def measured(*given: Any, name: str = name, call: Any = call) -> None:
            began = time.perf_counter()
            call(*given)
            spent[name] = spent.get(name, 0.0) + time.perf_counter() - began

        setattr(watch, name, measured)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=10)
    epochs = parser.parse_args().epochs
    table = Table("watch", "run", "in watching", "share", "import of the report", "its making", "report.html", box=None)
    for choice in ("none", "default", "everything"):
        table.add_row(choice, *measure(choice, epochs))
    Console().print(table)


def measure(choice: str, epochs: int) -> list[str]:
    folder, spent = Path(tempfile.mkdtemp()), dict[str, float]()
    given = [f"watch={choice}", f"epochs={epochs}", "logger=none"]
    job = build(plain(compose_one(given)))
    imported = time.perf_counter()
    from expkit.records.report import write_report

    imported = time.perf_counter() - imported  # near 0 after the first row
    guard = job.trainer.observers.logger
    guard.attach([JsonlLogger(folder / "metrics.jsonl")])
    guard.start(RunFacts("bench", str(folder), {}, {}))  # from now on it keeps pictures in the folder
    timed(job.trainer.observers.watch, spent)
    began = time.perf_counter()
    job.trainer.run()
    whole = time.perf_counter() - began
    guard.close({})
    began = time.perf_counter()
    path = write_report(folder)
    made = time.perf_counter() - began
    job.close()
    watched = sum(spent.values())
    size = f"{path.stat().st_size / 1e3:,.0f} kB"
    return [f"{whole:.1f} s", f"{watched:.2f} s", f"{watched / whole:.1%}", f"{imported:.2f} s", f"{made:.2f} s", size]


if __name__ == "__main__":
    main()
