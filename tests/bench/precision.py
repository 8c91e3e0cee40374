"""bf16 against fp32: final accuracy of cats and dogs with SqueezeNet from scratch, the same seeds at both precisions.

python tests/bench/precision.py FOLDER [SEEDS [OVERRIDE ...]]

FOLDER holds cat.*.jpg and dog.*.jpg. A seed gives both runs the same split, first weights, order and augmentation, so
that differences are taken seed by seed; they run side by side, with one thread each.
"""

import json
import math
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

PRECISIONS = ("fp32", "bf16")
STUDENT_95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}  # by degrees of freedom


def start(folder: str, scratch: Path, seed: int, precision: str, overrides: list[str]) -> "subprocess.Popen[bytes]":
    recipe = ["experiment=dogcat_squeezenet", f"dataset.root={folder}", "dataset.cache=disk", "logger=none"]
    chosen = [f"seed={seed}", f"device.precision={precision}", "device.threads=1", "dataset.num_workers=0", *overrides]
    places = [f"dataset.cache_dir={scratch}/cache", f"output_dir={scratch}/{precision}-{seed}"]
    return subprocess.Popen([sys.executable, "-m", "expkit.run", *recipe, *chosen, *places], stdout=subprocess.DEVNULL)


def accuracies(scratch: Path, seed: int, precision: str) -> tuple[float, float]:
    """Return the last and the best accuracy of a run that has ended."""
    (file,) = scratch.glob(f"{precision}-{seed}/*/result.json")
    result = json.loads(file.read_text())
    return result["scores"]["val/accuracy"], result["best_score"]


def main() -> None:
    folder, seeds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3
    last: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    table = Table("seed", "precision", "last accuracy", "best accuracy", title="expkit.run, SqueezeNet, 24 epochs")
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        for seed in track(range(seeds), description="seeds", transient=True):
            runs = [start(folder, scratch, seed, precision, sys.argv[3:]) for precision in PRECISIONS]
            codes = [run.wait() for run in runs]
            if any(codes):
                sys.exit("a run failed")
            for precision in PRECISIONS:
                accuracy, best = accuracies(scratch, seed, precision)
                last[precision].append(accuracy)
                table.add_row(str(seed), precision, f"{accuracy:.1%}", f"{best:.1%}")
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
