"""Time to the first batch when an epoch is begun at its start, in its middle, and at its last batch.

python tests/bench/resume.py [ROUNDS]
"""

import statistics
import sys
import time

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from expkit.config.registry import samplers
from expkit.data.batches import Samples
from expkit.data.datasets.in_memory import ImageArrays
from expkit.data.loader import Loader
from expkit.data.transforms import Chain

IMAGES, BATCH = 200_000, 32


def main(rounds: int) -> None:
    images = np.zeros((IMAGES, 8, 8, 3), dtype=np.uint8)
    targets = np.arange(IMAGES) % 10
    data = ImageArrays(images, targets, [str(number) for number in range(10)], "train")
    order = samplers.build({"name": "shuffle"}, targets=data.targets)
    starts = {"the first": 0, "the middle": IMAGES // BATCH // 2, "the last": IMAGES // BATCH - 1}
    times: dict[str, list[float]] = {name: [] for name in starts}
    for epoch in range(rounds + 1):
        for name, start in starts.items():
            loader = Loader(
                Samples(data, Chain(()), 0, "sample"), order, BATCH
            )  # as after a new start: nothing is drawn
            began = time.perf_counter()
            next(loader.epoch(epoch, start))
            if epoch:
                times[name].append(time.perf_counter() - began)
    table = Table(
        "batch begun at", "seconds (range)", "ratio to the first", title=f"{IMAGES:,} images, torch {torch.__version__}"
    )
    first = statistics.median(times["the first"])
    for name, found in times.items():
        middle = statistics.median(found)
        table.add_row(name, f"{middle:.4f} ({min(found):.4f} to {max(found):.4f})", f"{middle / first:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
