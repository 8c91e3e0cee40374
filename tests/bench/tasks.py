"""The tasks on several seeds, as their configs are: scores, wall and CPU time of the whole command.

python tests/bench/tasks.py [SEEDS [TASK ...]]

Of a reconstruction it counts how many validation images the main job's classifier names rightly once they are
reconstructed. Only one run trains at a time.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

import expkit
from expkit.devices.device import available_cores

TASKS = {"regression": "val/r2", "segmentation": "val/miou", "reconstruction": "val/psnr"}  # the main score of each


class Done(NamedTuple):
    folder: Path
    scores: dict[str, float]
    wall: float
    cpu: float


def train(data: Path, folder: Path, *overrides: str) -> Done:
    """Run the whole command; its CPU time holds that of its workers."""
    command = [sys.executable, "-m", "expkit.run", f"dataset.root={data}", f"output_dir={folder}", *overrides]
    before, began = os.times(), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    after, wall = os.times(), time.perf_counter() - began
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    (file,) = folder.glob("*/result.json")
    return Done(file.parent, json.loads(file.read_text())["scores"], wall, cpu)


def named_rightly(classifier: Done, autoencoder: Done, data: Path) -> float:
    """Return the share of the reconstructed validation images whose class the classifier names."""
    files = sorted((data / "folders" / "val").glob("*/*.jpg"))
    rebuilt = expkit.load(autoencoder.folder).predict(files)
    said = expkit.load(classifier.folder).predict(rebuilt)
    return sum(next(iter(one)) == file.parent.name for one, file in zip(said, files, strict=True)) / len(files)


def told(task: str, done: Done) -> str:
    """Return the scores that a task has a goal for."""
    main = TASKS[task]
    goals = {name: value for name, value in done.scores.items() if name.startswith(main)}
    return ", ".join(f"{name.removeprefix('val/')} {value:.4g}" for name, value in goals.items())


def main() -> None:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    chosen = sys.argv[2:] or list(TASKS)
    title = f"{platform.machine()}, {available_cores()} cores; load at the start {os.getloadavg()[0]:.1f}"
    table = Table("task", "seed", "scores of the last epoch", "wall s", "CPU s", title=title)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        data = place / "shapes"
        classifier = train(data, place / "main") if "reconstruction" in chosen else None
        for task in chosen:
            for seed in range(seeds):
                done = train(data, place / f"{task}_{seed}", f"task={task}", f"seed={seed}")
                scores = told(task, done)
                if classifier and task == "reconstruction":
                    scores += f", {named_rightly(classifier, done, data):.1%} named rightly"
                table.add_row(task, str(seed), scores, f"{done.wall:.0f}", f"{done.cpu:.0f}")
                print(task, seed, scores, f"wall {done.wall:.0f} s, CPU {done.cpu:.0f} s", flush=True)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
