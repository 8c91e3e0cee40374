"""Writes records until it is killed: python killed.py FOLDER. Forks a child for each line on stdin and tells its id.

A child begins a run's record, adds points, events and bad files, closes it as interrupted and goes on with it, for
ever: it never finishes a run, so no record may say so.
"""

import itertools
import os
import sys
from pathlib import Path

from expkit.config.compose import compose_one, plain
from expkit.data.datasets import load
from expkit.records.writer import Record


def main() -> None:
    root = Path(sys.argv[1])
    config = plain(compose_one(["dataset=fake", "dataset.images=100", f"output_dir={root}"]))
    splits = load(config["dataset"])
    for number, _ in enumerate(sys.stdin):
        if child := os.fork():
            print(child, flush=True)
            os.waitpid(child, 0)
            continue
        folder = root / f"run{number}"
        folder.mkdir()
        record = Record(folder, config, ["dataset=fake"], "python -m expkit.run dataset=fake")
        for step in itertools.count(1):
            record.data(splits)
            with open(folder / "metrics.jsonl", "ab", buffering=0) as file:
                file.write(b'{"kind": "step", "epoch": 0, "step": %d, "loss": 0.5}\n' % step)
            record.bad_file(f"{step}.jpg", "is empty")
            record.close("interrupted", {"steps": step}, "SIGTERM")
            record = Record.reopen(folder, config, "python -m expkit.run checkpoint.resume=auto", step=step)


if __name__ == "__main__":
    main()
