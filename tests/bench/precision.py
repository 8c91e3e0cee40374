"""bf16 against fp32: final accuracy of cats and dogs with SqueezeNet from scratch, the same seeds at both precisions.

python tests/bench/precision.py FOLDER [SEEDS [OVERRIDE ...]]

FOLDER holds cat.*.jpg and dog.*.jpg. A seed gives both runs the same split, first weights, order and augmentation, so
that differences are taken seed by seed.
"""

import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

PRECISIONS = ("fp32", "bf16")
STUDENT_95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}  # by degrees of freedom


def run(folder: str, cache: str, seed: int, precision: str, overrides: list[str]) -> tuple[float, float, float]:
    """Return the last and the best accuracy of a run, and the seconds that the command took."""
    recipe = ["experiment=dogcat_squeezenet", f"dataset.root={folder}", "dataset.cache=disk", "logger=none"]
    chosen = [f"dataset.cache_dir={cache}", f"seed={seed}", f"device.precision={precision}", *overrides]
    with tempfile.TemporaryDirectory() as runs:
        command = [sys.executable, "-m", "expkit.run", *recipe, *chosen, f"output_dir={runs}"]
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds = time.perf_counter() - began
        (file,) = Path(runs).glob("*/result.json")
        result = json.loads(file.read_text())
    return result["scores"]["val/accuracy"], result["best_score"], seconds


def main() -> None:
    folder, seeds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3
    last: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    table = Table("seed", "precision", "last accuracy", "best accuracy", "seconds", title="expkit.run, SqueezeNet")
    with tempfile.TemporaryDirectory() as cache:
        for number in track(range(2 * seeds), description="runs", transient=True):
            seed, precision = number // 2, PRECISIONS[number % 2]
            accuracy, best, seconds = run(folder, cache, seed, precision, sys.argv[3:])
            last[precision].append(accuracy)
            table.add_row(str(seed), precision, f"{accuracy:.1%}", f"{best:.1%}", f"{seconds:.0f}")
    Console().print(table)
    for precision, found in last.items():
        print(f"{precision}: mean {statistics.mean(found):.1%}")
    differences = [one - other for one, other in zip(last["bf16"], last["fp32"], strict=True)]
    mean = statistics.mean(differences)
    if seeds > 1:
        error = statistics.stdev(differences) / math.sqrt(seeds)
        half = STUDENT_95.get(seeds - 1, 2.0) * error
        print(
            f"bf16 - fp32, last accuracy: {100 * mean:+.2f} points, standard error {100 * error:.2f};"
            f" 95 % interval {100 * (mean - half):+.1f} to {100 * (mean + half):+.1f} (Student, {seeds} pairs)"
        )


if __name__ == "__main__":
    main()
