"""Runs that are killed and go on, until they are done, in processes that are forked with torch already imported.

python tests/killed.py FOLDER KILLS SEED     prints JSON: kills, kills within a checkpoint write, runs, runs that differ
"""

import hashlib
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image

from expkit import assembly, run
from expkit.checkpoints import write
from expkit.config import compose_one, plain

assert assembly  # imported here, so that no forked process needs to

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
        run.train(config, overrides, "python -m expkit.run …")
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


def kill_within_a_write(number: int, delay: float) -> Callable[[], None]:
    """Return what makes a process kill itself `delay` seconds after it began to write file number `number`."""

    def prepare() -> None:
        written, original = iter(range(number, -1, -1)), write.write_whole

        def write_whole(path: Path, content: Any) -> str:
            if next(written, None) == 0:
                threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
            return original(path, content)

        write.write_whole = write_whole

    return prepare


def run_until_done(overrides: Sequence[str], folder: Path, chance: random.Random, most: int) -> tuple[int, int]:
    """Kill a run at random instants, `most` times at most, until it ends; returns (kills, those within a write)."""
    kills = within = 0
    while True:
        in_write = 2 * within <= kills  # half of them, also where a run ends before the write that was chosen
        before = kill_within_a_write(chance.randrange(1, 9), chance.random() * 0.004) if in_write else lambda: None
        child = start([*overrides, "checkpoint.resume=auto"], folder, before if kills < most else lambda: None)
        if kills < most and not in_write:
            time.sleep(0.2 + chance.random() * 1.6)
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        code = wait(child)
        if code == -signal.SIGKILL:
            kills, within = kills + 1, within + in_write
        elif code == 0:
            return kills, within
        else:
            raise SystemExit(f"exit code {code}: {(folder.parent / f'{folder.name}.txt').read_text()[-2000:]}")


def main(parent: Path, kills: int, seed: int) -> None:
    chance, done = random.Random(seed), {"kills": 0, "within_a_write": 0, "runs": 0, "different": 0}
    draw(parent / "pets")
    overrides = recipe(parent / "pets")
    (parent / "whole").mkdir()
    assert wait(start(overrides, parent / "whole")) == 0, (parent / "whole.txt").read_text()
    expected = outcome(parent / "whole")
    while done["kills"] < kills:
        folder = parent / f"killed_{done['runs']}"
        folder.mkdir()
        killed, within = run_until_done(overrides, folder, chance, min(kills - done["kills"], 8))
        done["kills"], done["within_a_write"] = done["kills"] + killed, done["within_a_write"] + within
        done["runs"] += 1
        found = outcome(folder)
        if found != expected:
            done["different"] += 1
            print(f"{folder}: {found} is not {expected}", file=sys.stderr)
    print(json.dumps(done))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
