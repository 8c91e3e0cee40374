"""python -m expkit compare over many finished runs: wall time of the whole command, with its page and as CSV alone.

python tests/bench/compare.py [RUNS [ROUNDS]]    copies one real run RUNS times (1,000), each with values of its own
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECIPE = [
    "dataset.size=28", "dataset.train_images=60", "dataset.val_images=20", "dataset.num_workers=0", "model=small_cnn",
    "model.width=4", "epochs=16", "batch_size=20", "logger=none", "device.threads=1", "log_every=1",
]  # fmt: skip
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}


def real_run(folder: Path) -> Path:
    """Train a tiny run of 16 epochs, 48 steps each of which is logged; returns its folder."""
    place = [f"dataset.root={folder}/shapes", f"output_dir={folder}/first"]
    command = [sys.executable, "-m", "expkit.run", *RECIPE, *place]
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    (run,) = (folder / "first").iterdir()
    return run


def copies(run: Path, outputs: Path, count: int) -> None:
    """Copy a run, each time with another seed, learning rate and scores, as if it had been trained so."""
    config, result = (run / "config.yaml").read_text(), json.loads((run / "result.json").read_text())
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert "\nseed: 0\n" in config
    assert "  lr: 0.003\n" in config
    for number in range(count):
        place = outputs / f"{run.name}_{number}"
        shutil.copytree(run, place, ignore=shutil.ignore_patterns("checkpoints", "pictures"))
        rate = 0.0001 * 1.005**number
        text = config.replace("\nseed: 0\n", f"\nseed: {number}\n").replace("  lr: 0.003\n", f"  lr: {rate:.6f}\n")
        (place / "config.yaml").write_text(text)
        shift = 0.1 * (number % 97) / 97
        points = [{key: value - shift if "/" in key else value for key, value in one.items()} for one in metrics]
        (place / "metrics.jsonl").write_text("".join(json.dumps(point) + "\n" for point in points))
        scores = {key: value - shift for key, value in result["scores"].items()}
        (place / "result.json").write_text(json.dumps(result | {"scores": scores}, indent=1))


def seconds(folder: Path, *arguments: str) -> float:
    began = time.perf_counter()
    command = [sys.executable, "-m", "expkit", "compare", "outputs", *arguments]
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    return time.perf_counter() - began


def main(count: int, rounds: int) -> None:
    ways = {"table and page": [], "CSV alone (--csv -)": ["--csv", "-"]}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copies(real_run(folder), folder / "outputs", count)
        times: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, arguments in ways.items():
                times[way].append(seconds(folder, *arguments))
        page = (folder / "outputs/compare.html").stat().st_size
    print(f"{count:,} runs; the page has {page / 1e6:.1f} MB")
    for way, found in times.items():
        print(f"{way:20} {statistics.median(found):6.2f} s (best {min(found):.2f}, worst {max(found):.2f})")


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    main(numbers[0] if numbers else 1_000, numbers[1] if len(numbers) > 1 else 5)
