"""Runs that are killed and go on, until they are done, in processes that are forked with torch already imported.

python tests/killed.py FOLDER KILLS SEED     prints JSON: kills, kills within a checkpoint write, runs, runs that differ

Half of the kills lie within a write.
"""

import hashlib
import json
import mmap
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from expkit.checkpoints import writer
from expkit.config.compose import compose_one, plain
from expkit.runs import build
from expkit.runs.train import train as train_run

assert build  # imported here, so that no forked process needs to

WRITING = mmap.mmap(-1, 1)  # shared with the processes that are forked: 1 while a file of a checkpoint is written
TIMES = ("seconds", "images_per_second", "data_wait")  # how long it took is the one thing that differs


def recipe(root: Path) -> list[str]:
    """Everything that draws at random or keeps a state, on images small enough for a run of a second."""
    transforms = "[{name: RandomResizedCrop, size: 32}, {name: RandAugment}]"
    return [
        "dataset=image_folder", f"dataset.root={root}", "dataset.num_workers=2", "sampler=weighted",
        "sampler.class_weights={cat: 1.0, dog: 3.0}", f"transforms.train={transforms}", "transforms.image_size=32",
        "transforms.batch=[{name: MixUp}]", "model.width=4", "model.dropout=0.2", "optimizer=adamw", "schedule=cosine",
        "schedule.warmup_steps=3", "clip_grad_norm=1.0", "batch_size=4", "accumulate_steps=2", "epochs=12",
        "ema_decay=0.9", "early_stopping_patience=4", "checkpoint.monitor=loss",
        "log_every=3", "checkpoint.every_steps=2", "logger=none", "device.threads=1",
    ]  # fmt: skip


def draw(root: Path, count: int = 22) -> None:
    """Write `count` JPEG files of noise for each of two classes."""
    for name in ("cat", "dog"):
        for number in range(count):
            path = root / name / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = Image.effect_noise((44, 40), 40 + number).convert("RGB")
            noise.point(lambda value: value // 2 if name == "dog" else value).save(path)  # noqa: B023  used at once


def start(overrides: Sequence[str], folder: Path, before: Callable[[], object] = lambda: None) -> int:
    """Start a run in a process of its own; returns its number."""
    config = plain(compose_one([*overrides, f"output_dir={folder}"]))
    if child := os.fork():
        return child
    code = 1
    try:
        os.setpgid(0, 0)
        sink = os.open(folder.parent / f"{folder.name}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        before()
        train_run(config, overrides, "python -m expkit.run …")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:
        code = 130
    finally:
        sys.stdout.flush()
        os._exit(code)


def wait(child: int) -> int:
    """Return the exit code of a process, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def outcome(folder: Path) -> dict[str, Any]:
    """Return what must be equal: weights, average, every point but its times, the best checkpoint and its score."""
    (found,) = (path.parent for path in folder.glob("*/result.json"))  # one killed before its config leaves a husk
    result = json.loads((found / "result.json").read_text())
    lines = [json.loads(line) for line in (found / "metrics.jsonl").read_text().splitlines()]
    points = [{name: value for name, value in line.items() if name not in TIMES} for line in lines]
    best = json.loads((found / "checkpoints" / result["best"]).with_suffix(".json").read_text())
    kept = {name: result[name] for name in ("weights_sha256", "average_sha256", "best", "best_score", "steps")}
    digest = hashlib.sha256(json.dumps(points).encode()).hexdigest()
    return kept | {"points": len(points), "metrics": digest, "best_scores": best["scores"]}


def watch_writes(fatal: int, share: float) -> Callable[[], None]:
    """Return what makes a process say in WRITING whether it writes a file of a checkpoint, at this instant.

    While it writes file number `fatal` it kills itself, after a `share` of the time that the file before took, and at
    the latest when the write is about to return.
    """

    def prepare() -> None:
        count, seconds, original = 0, 0.0, writer.atomic_write

        def atomic_write(path: Path, content: Any) -> str:
            nonlocal count, seconds
            count, began, WRITING[0] = count + 1, time.monotonic(), 1
            if count == fatal:
                threading.Timer(share * seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()
            try:
                return original(path, content)
            finally:
                if count == fatal:
                    os.kill(os.getpid(), signal.SIGKILL)
                seconds, WRITING[0] = time.monotonic() - began, 0

        writer.atomic_write = atomic_write

    return prepare


@dataclass
class Counts:
    """What was done so far; a kill counts as one within a write if a file was being written when it came."""

    kills: int = 0
    within_a_write: int = 0
    runs: int = 0
    different: int = 0


def run_until_done(overrides: Sequence[str], folder: Path, chance: random.Random, counts: Counts, kills: int) -> None:
    """Kill a run at random instants, eight times at most, until it ends; adds to the counts."""
    most = min(counts.kills + 8, kills)
    while True:
        is_killed = counts.kills < most
        in_write = is_killed and 2 * counts.within_a_write <= counts.kills  # so that the next may lie elsewhere
        prepare, WRITING[0] = watch_writes(chance.randrange(2, 10) if in_write else 0, chance.random()), 0
        child = start([*overrides, "checkpoint.resume=auto"], folder, prepare)
        if is_killed and not in_write:
            time.sleep(0.2 + chance.random() * 1.6)
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        code = wait(child)
        if code == -signal.SIGKILL:
            counts.kills, counts.within_a_write = counts.kills + 1, counts.within_a_write + WRITING[0]
        elif code == 0:
            counts.runs += 1
            return
        else:
            raise SystemExit(f"exit code {code}: {(folder.parent / f'{folder.name}.txt').read_text()[-2000:]}")


def main(parent: Path, kills: int, seed: int) -> None:
    chance, counts = random.Random(seed), Counts()
    draw(parent / "pets")
    overrides = recipe(parent / "pets")
    (parent / "whole").mkdir()
    assert wait(start(overrides, parent / "whole")) == 0, (parent / "whole.txt").read_text()
    expected = outcome(parent / "whole")
    while counts.kills < kills:
        folder = parent / f"killed_{counts.runs}"
        folder.mkdir()
        run_until_done(overrides, folder, chance, counts, kills)
        found = outcome(folder)
        if found != expected:
            counts.different += 1
            print(f"{folder}: {found} is not {expected}", file=sys.stderr)
    print(json.dumps(asdict(counts)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
