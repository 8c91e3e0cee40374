"""The main job on three seeds: accuracy on held-out images, and wall time of the whole command.

python tests/bench/main_job.py [OVERRIDE ...]
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table


def main() -> None:
    table = Table("seed", "last accuracy", "best accuracy", "seconds", title="python -m expkit.run, CPU")
    for seed in range(3):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "expkit.run", f"seed={seed}", f"output_dir={folder}/runs", *sys.argv[1:]]
            began = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds = time.perf_counter() - began
            (file,) = Path(folder).glob("runs/*/result.json")
            result = json.loads(file.read_text())
        last, best = result["scores"]["val/accuracy"], result["best_score"]
        table.add_row(str(seed), f"{last:.1%}", f"{best:.1%}", f"{seconds:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
