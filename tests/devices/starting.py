"""Real runs of several ranks, as processes of their own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RUN = [sys.executable, "-m", "expkit.run"]


def small(folder: Path, *more: str) -> list[str]:
    """Return overrides of a run on 45 drawn images, which 2 and 4 ranks cannot share out evenly."""
    data = [f"dataset.root={folder}/shapes", "dataset.size=32", "dataset.train_images=45", "dataset.val_images=11"]
    width = [] if any(word.startswith("model=") for word in more) else ["model.width=4"]
    rest = [*width, "dataset.num_workers=0", "batch_size=16", "epochs=2", "logger=none", "log_every=1"]
    return [*data, *rest, *more]


def start(overrides: Sequence[str], command: Sequence[str] = RUN) -> subprocess.Popen[str]:
    """Start a run, in a process group of its own."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen([*command, *overrides], text=True, start_new_session=True, **pipes)


def done(overrides: Sequence[str], command: Sequence[str] = RUN) -> tuple[int, str]:
    """Run to the end; returns (exit code, all that was printed)."""
    running = start(overrides, command)
    printed, _ = running.communicate(timeout=400)
    return running.returncode, printed


def only_run(folder: Path) -> Path:
    """Return the one run folder below a folder."""
    (found,) = [path.parent for path in folder.glob("**/record.json")]
    return found


def points(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def wait_for_step(folder: Path, step: int, seconds: float = 200) -> Path:
    """Wait until the run below a folder has logged a step; returns its folder."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for path in folder.glob("**/metrics.jsonl"):
            text = path.read_text()
            lines = [json.loads(line) for line in text.splitlines()] if text.endswith("\n") else []
            if lines and lines[-1]["step"] >= step:
                return path.parent
        time.sleep(0.05)
    raise AssertionError(f"no step {step} within {seconds} seconds")


def wait_for_ranks(folder: Path, count: int, seconds: float = 200) -> Path:
    """Wait until all ranks of the run below a folder answer signals, which is before their first step."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = list(folder.glob("**/ranks/rank_*.pid"))
        if len(found) == count and all(path.read_text() for path in found):
            return found[0].parents[1]
        time.sleep(0.01)
    raise AssertionError(f"not {count} ranks within {seconds} seconds")


def ranks_of(run: Path) -> dict[int, int]:
    """Return the process of each rank."""
    return {int(path.stem.split("_")[1]): int(path.read_text()) for path in (run / "ranks").glob("rank_*.pid")}


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def family(process: int) -> list[int]:
    """Return a process and all below it."""
    below: dict[int, list[int]] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            below.setdefault(parent, []).append(int(path.name))
    found, ahead = [], [process]
    while ahead:
        found.append(ahead.pop())
        ahead += below.get(found[-1], [])
    return found


def without_launcher() -> None:
    """Have a process think that no launcher started it."""
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "TORCHELASTIC_RUN_ID"):
        os.environ.pop(name, None)
