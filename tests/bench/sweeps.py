"""Eight tiny jobs: one process after the other, Hydra's basic launcher, joblib's where it is installed, and our pool.

python tests/bench/sweeps.py [ROUNDS]         wall time of the whole command, start to end, the ways in turn each round
python tests/bench/sweeps.py --many [JOBS]    a pool of jobs that sleep 0.05 s: overhead a job, memory of the sweep
"""

import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).parents[2]
RECIPE = [
    "dataset.size=28", "dataset.train_images=60", "dataset.val_images=20", "dataset.num_workers=0", "model=small_cnn",
    "model.width=4", "epochs=2", "batch_size=20", "logger=none", "device.threads=1",
]  # fmt: skip
SWEPT = {"optimizer.lr": ["0.01", "0.001"], "seed": ["0", "1", "2", "3"]}


def run(folder: Path, *arguments: str) -> float:
    """Return the seconds of a whole command; its runs go to a new folder, for a sweep is never run twice."""
    output = tempfile.mkdtemp(dir=folder)
    place = [f"dataset.root={folder}/shapes", f"output_dir={output}"]
    began = time.perf_counter()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, "-m", "expkit.run", *arguments, *RECIPE, *place]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - began


def in_turn(folder: Path) -> float:
    return sum(
        run(folder, f"optimizer.lr={lr}", f"seed={seed}") for lr in SWEPT["optimizer.lr"] for seed in SWEPT["seed"]
    )


def sweep(launcher: str) -> list[str]:
    return ["-m", f"hydra/launcher={launcher}", *(f"{key}={','.join(values)}" for key, values in SWEPT.items())]


def compare(rounds: int) -> None:
    ways = {"8 processes in turn": in_turn, "basic launcher": lambda folder: run(folder, *sweep("basic"))}
    if importlib.util.find_spec("hydra_plugins") and importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher"):
        ways["joblib launcher, n_jobs=2"] = lambda folder: run(folder, *sweep("joblib"), "hydra.launcher.n_jobs=2")
    ways["pool"] = lambda folder: run(folder, *sweep("pool"))
    times: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), "epochs=1")  # draws the data, compiles the modules
        for number in range(rounds):
            for name, way in ways.items() if number % 2 == 0 else reversed(ways.items()):
                times[name].append(way(Path(folder)))
                print(f"  round {number + 1}  {name:26} {times[name][-1]:6.1f} s", flush=True)
    slowest = times["8 processes in turn"]
    print(f"{'way':26} {'s (median)':>10} {'ratio (median of the rounds)':>30}")
    for name, found in times.items():
        ratio = statistics.median(one / other for one, other in zip(slowest, found, strict=True))
        print(f"{name:26} {statistics.median(found):10.1f} {ratio:30.2f}")


def many(count: int) -> None:
    from expkit.sweeps import pool
    from expkit.sweeps.job import SweepJob
    from expkit.sweeps.worker import Share

    folder = Path(tempfile.mkdtemp())
    tasks = [pool.Task(SweepJob(number, [], {}, ""), {}, folder / f"{number}.txt") for number in range(count)]
    sizes: list[int] = []
    workers = pool.Pool(lambda config, overrides: time.sleep(0.05), [Share(1)])
    began = time.perf_counter()
    watch = SimpleNamespace(
        started=lambda task: None, ended=lambda task, ended: sizes.append(resident()), tick=lambda: None
    )
    workers.run(tasks, watch)
    overhead = (time.perf_counter() - began) / count - 0.05
    print(f"{count} jobs of 0.05 s, one at a time: overhead {overhead * 1000:.0f} ms a job")
    print(f"memory of the sweep: {sizes[9] / 1e6:.1f} MB after 10 jobs, {sizes[-1] / 1e6:.1f} MB after {count}")


def resident() -> int:
    """Return this process's memory in bytes (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    if "--many" in sys.argv:
        sys.path.insert(0, str(ROOT))
        many(int(sys.argv[2]) if len(sys.argv) > 2 else 200)
    else:
        compare(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
