"""How long a user waits for --help and for the answer to a misspelt override.

python tests/bench/startup.py [ROUNDS]
"""

import statistics
import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

COMMANDS = {
    "python -c 'import torch, torchvision'": ["-c", "import torch, torchvision"],
    "--help": ["-m", "expkit.run", "--help"],
    "model.widht=3 (misspelt option)": ["-m", "expkit.run", "model.widht=3"],
    "model.name=resnet81 (misspelt word)": ["-m", "expkit.run", "model.name=resnet81"],
}


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(rounds + 1):
        for name, arguments in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *arguments], capture_output=True)
            if number:  # the first round compiles and fills caches
                times[name].append(time.perf_counter() - began)
    table = Table("command", "seconds (median)", title=f"{rounds} alternating rounds, CPU")
    for name, found in times.items():
        table.add_row(name, f"{statistics.median(found):.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
