"""How long a user waits for --help, for the answer to a misspelt override, and for a whole program of one step.

python tests/bench/startup.py [ROUNDS]

The program of one step: SqueezeNet, 32 images of 64 pixels, an evaluation of 50, a checkpoint, TensorBoard; by hand
with Hydra and torch (tests/bench/by_hand.py), and expkit.run, which also writes its record and report.html.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

BY_HAND = "one step, by hand with Hydra and torch"
IMAGES = ["dataset.size=64", "dataset.train_images=100", "dataset.val_images=50"]
STEP = [*IMAGES, "dataset.num_workers=0", "model=squeezenet", "optimizer.lr=0.001", "batch_size=32", "max_steps=1"]


def commands(folder: Path) -> dict[str, list[str]]:
    root, output = folder / "shapes", f"output_dir={folder}/outputs"
    run = ["-m", "expkit.run", f"dataset.root={root}", *STEP, output]
    return {
        "python -c 'import torch, torchvision'": ["-c", "import torch, torchvision"],
        "--help": ["-m", "expkit.run", "--help"],
        "model.widht=3 (misspelt option)": ["-m", "expkit.run", "model.widht=3"],
        "model.name=resnet81 (misspelt word)": ["-m", "expkit.run", "model.name=resnet81"],
        BY_HAND: [str(Path(__file__).with_name("by_hand.py")), f"root={root}/folders", f"hydra.run.dir={folder}/hand"],
        "one step, expkit.run": run,
        "one step, expkit.run, watch=none": [*run, "watch=none"],
    }


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as temporary:
        ways = commands(Path(temporary))
        subprocess.run([sys.executable, *ways["one step, expkit.run"]], capture_output=True, check=True)  # draws
        times: dict[str, list[float]] = {name: [] for name in ways}
        for number in track(range(rounds + 1), "rounds", transient=True):
            for name, arguments in ways.items():
                began = time.perf_counter()
                subprocess.run([sys.executable, *arguments], capture_output=True, check="misspelt" not in name)
                if number:  # the first round compiles and fills caches
                    times[name].append(time.perf_counter() - began)
    table = Table("command", "seconds (median)", "ratio (median of rounds)", title=f"{rounds} alternating rounds, CPU")
    for name, found in times.items():
        ratio = statistics.median(one / other for one, other in zip(found, times[BY_HAND], strict=True))
        table.add_row(name, f"{statistics.median(found):.2f}", f"{ratio:.2f}" if name.startswith("one") else "")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
