"""What logging costs the training thread: a point handed over, and its share of a 20 ms step.

python tests/bench/loggers.py [ROUNDS]
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from expkit.loggers.base import Logger, Point, RunFacts
from expkit.loggers.hub import LoggerHub
from expkit.loggers.jsonl import JsonlLogger
from expkit.loggers.tensorboard import TensorBoardLogger
from expkit.loggers.visdom import VisdomLogger
from tests.loggers.servers import free_port, hung_server, visdom_server

POINTS = 4000
VALUES = {"loss": 0.123456789, "accuracy": 0.9, "lr": 0.001, "images_per_second": 1790.5}
ALONE = "... a point of a single value"


def handing_over(folder: Path, *backends: Logger, values: dict[str, float] = VALUES) -> float:
    """Return µs a point, handed over every 0.5 ms, so that the backends' threads run meanwhile."""
    guard = LoggerHub([JsonlLogger(folder / "metrics.jsonl"), *backends])
    guard.start(RunFacts("bench", str(folder), {}, {"run": "bench"}))
    spent = 0.0
    for step in range(POINTS):
        point = Point("step", 0, step, values)
        began = time.perf_counter()
        guard.point(point)
        spent += time.perf_counter() - began
        time.sleep(0.0005)
    guard.close({})
    return spent / POINTS * 1e6


def tensorboard_alone(folder: Path) -> float:
    """Return µs for the same four values given to tensorboardX on the training thread."""
    from tensorboardX import SummaryWriter

    writer = SummaryWriter(str(folder))
    began = time.perf_counter()
    for step in range(POINTS):
        for name, value in VALUES.items():
            writer.add_scalar(name, value, step)
    seconds = time.perf_counter() - began
    writer.close()
    return seconds / POINTS * 1e6


def main() -> None:
    """Points have four values but where it says otherwise."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    ways: dict[str, Callable[[Path], float]] = {
        "tensorboardX on the training thread": tensorboard_alone,
        "metrics.jsonl": handing_over,
        ALONE: lambda folder: handing_over(folder, TensorBoardLogger(folder, 30), values={"loss": 0.123456789}),
        "metrics.jsonl, TensorBoard": lambda folder: handing_over(folder, TensorBoardLogger(folder, 30)),
    }
    times: dict[str, list[float]] = {name: [] for name in (*ways, "... and Visdom", "... and a hung Visdom")}
    with tempfile.TemporaryDirectory() as server, hung_server() as hung:
        port = free_port()
        with visdom_server(Path(server), port):
            for name, number in (("... and Visdom", port), ("... and a hung Visdom", hung)):
                ways[name] = lambda folder, number=number: handing_over(
                    folder, TensorBoardLogger(folder, 30), VisdomLogger("localhost", number, "bench", None, 60)
                )
            for _ in range(rounds):
                for name, way in ways.items():
                    with tempfile.TemporaryDirectory() as folder:
                        times[name].append(way(Path(folder)))
    table = Table("way", "µs a point", "µs a scalar", "share of a 20 ms step, a point each")
    for name, found in times.items():
        middle = statistics.median(found)
        table.add_row(name, f"{middle:.1f}", f"{middle / (1 if name == ALONE else 4):.1f}", f"{middle / 20_000:.2%}")
    Console().print(table)


if __name__ == "__main__":
    main()
