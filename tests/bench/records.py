"""What a record costs: the fingerprint of many files, new and known; opening and closing; the size of what it adds.

python tests/bench/records.py [FILES] [FOLDER]
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from expkit.config.compose import compose_one, plain
from expkit.data.datasets import load
from expkit.records.environment import data_facts
from expkit.records.fingerprint import list_bytes
from expkit.records.integrity import check_record
from expkit.records.writer import Record

CLASSES = 50
BYTES = 20_000  # of each file
ROUNDS = 5


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as place:
        os.environ["XDG_CACHE_HOME"] = f"{place}/cache"
        root = Path(place) / "images"
        write(root, count)
        time.sleep(2.1)  # younger files are read again, since they may change within their time stamp
        report(Path(place), root, count)


def write(root: Path, count: int) -> None:
    """Write so many files of noise, in folders of classes; they are never decoded here."""
    content = os.urandom(BYTES)
    for number in range(count):
        folder = root / f"class_{number % CLASSES:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:06d}.jpg").write_bytes(b"%d" % number + content)


def report(place: Path, root: Path, count: int) -> None:
    config = plain(compose_one(["dataset=image_folder", f"dataset.root={root}"]))
    splits, seconds = timed(lambda: load(config["dataset"]))
    table = Table(
        "what", "seconds", "of them computing", title=f"{count:,} files of {BYTES:,} bytes, {os.cpu_count()} cores"
    )
    table.add_row("listing the files (what a run does anyway)", *shown(seconds))
    (facts, lines), seconds = timed(lambda: data_facts(splits))
    table.add_row("fingerprint, no file known", *shown(seconds))
    known = [timed(lambda: data_facts(splits))[1] for _ in range(ROUNDS)]
    table.add_row(f"fingerprint, nothing changed (best of {ROUNDS})", *shown(min(known)))
    for path in [*root.glob("*/*.jpg")][: count // 100]:
        path.write_bytes(path.read_bytes()[::-1])
    (changed, _), seconds = timed(lambda: data_facts(splits))
    assert changed != facts
    table.add_row("fingerprint, 1 % changed", *shown(seconds))
    (place / "run").mkdir()
    record, seconds = timed(lambda: Record(place / "run", config, [], ""))
    table.add_row("opening the record (config, code, environment)", *shown(seconds))
    _, seconds = timed(lambda: record.data(splits))
    table.add_row("writing the data's part", *shown(seconds))
    _, seconds = timed(lambda: record.close("finished", {}))
    table.add_row("closing it", *shown(seconds))
    _, seconds = timed(lambda: check_record(place / "run"))
    table.add_row("checking it", *shown(seconds))
    Console().print(table)
    print(f"the list of files in the record: {len(list_bytes(lines)):,} bytes")


def shown(seconds: tuple[float, float]) -> tuple[str, str]:
    return f"{seconds[0]:.2f}", f"{seconds[1]:.2f}"


def timed(work: Callable[[], Any]) -> tuple[Any, tuple[float, float]]:
    began, computing = time.perf_counter(), time.process_time()
    result = work()
    return result, (time.perf_counter() - began, time.process_time() - computing)


if __name__ == "__main__":
    main()
