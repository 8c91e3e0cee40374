"""What a run costs beside other work: as many processes that compute without end as there are cores.

python tests/bench/busy.py [ROUNDS]

One epoch of the main job on shapes, a whole command; with one thread, with all, and with all where libgomp waits as it
does by itself (GOMP_SPINCOUNT=300000); alone and beside the other work.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from expkit.devices.device import available_cores

JOB = ["-m", "expkit.run", "epochs=1", "dataset.train_images=500", "dataset.val_images=100", "watch=none"]
ONE = "expkit, one thread"
WAYS: dict[str, tuple[dict[str, str], list[str]]] = {
    ONE: ({}, ["device.threads=1"]),
    "expkit": ({}, []),
    "expkit, libgomp's own waiting": ({"GOMP_SPINCOUNT": "300000"}, []),
}


@contextmanager
def other_work(processes: int) -> Iterator[None]:
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def seconds(folder: Path, way: str) -> float:
    environment, overrides = WAYS[way]
    command = [sys.executable, *JOB, f"dataset.root={folder}/shapes", f"output_dir={folder}/outputs", *overrides]
    began = time.perf_counter()
    subprocess.run(command, capture_output=True, check=True, env=os.environ | environment)
    return time.perf_counter() - began


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    cores = available_cores()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        seconds(folder, ONE)  # draws the images
        times: dict[tuple[int, str], list[float]] = {(work, way): [] for work in (0, cores) for way in WAYS}
        for _ in track(range(rounds), "rounds", transient=True):
            for work, way in times:
                with other_work(work):
                    times[work, way].append(seconds(folder, way))
    table = Table("other processes", "way", "seconds (median)", "ratio to one thread (median of rounds)")
    table.title = f"{rounds} alternating rounds, {cores} cores"
    for (work, way), found in times.items():
        ratio = statistics.median(one / other for one, other in zip(found, times[work, ONE], strict=True))
        table.add_row(str(work), way, f"{statistics.median(found):.1f}", f"{ratio:.2f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
