"""Two ranks on the CPU: against one process with the same cores, and against torch's DDP written by hand.

python tests/bench/devices.py [ROUNDS]     each way in processes of its own, the steps alone are timed
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from rich.console import Console
from rich.table import Table
from torch import nn

from expkit.config.compose import compose_one, plain
from expkit.devices.process_group import Ranks
from expkit.runs.build import build

STEPS, BATCH, SIZE = 8, 32, 32
WAYS = ("one process, all cores", "one process, one core", "two ranks", "two ranks, DDP by hand")


def recipe(folder: Path, *more: str) -> list[str]:
    data = [f"dataset.root={folder}/shapes", f"dataset.size={SIZE}", f"dataset.train_images={BATCH * STEPS}"]
    rest = ["dataset.val_images=5", "dataset.num_workers=0", f"batch_size={BATCH}", "logger=none", "checkpoint=none"]
    return [*data, *rest, "model=resnet18", f"transforms.image_size={SIZE}", "device=multi_cpu", "log_every=6", *more]


def timed(step: Callable[[], object]) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def ours(folder: Path, ranks: Ranks | None, *more: str) -> float:
    job = build(plain(compose_one(recipe(folder, *more))), ranks=ranks)
    job.trainer.train_epoch()  # warms up
    job.trainer.state.position.batch = 0
    return timed(job.trainer.train_epoch)


def by_hand(folder: Path, ranks: Ranks) -> float:
    """The same data, model and optimizer in a loop of one's own: forward, backward, step, loss and accuracy."""
    job = build(plain(compose_one(recipe(folder, "++device.sync_batchnorm=false"))), ranks=ranks)
    trainer, loss_of = job.trainer, nn.CrossEntropyLoss()
    model = nn.parallel.DistributedDataParallel(trainer.state.model)
    optimizer = torch.optim.AdamW(trainer.state.model.parameters(), lr=1e-3)

    def epoch() -> None:
        total, correct = torch.zeros(()), torch.zeros(())
        for number, batch in enumerate(trainer.train_loader.epoch(0), start=1):
            optimizer.zero_grad()
            logits = model(trainer.step.images(batch))
            loss = loss_of(logits, batch.targets)
            loss.backward()
            optimizer.step()
            total += loss.detach()
            correct += (logits.argmax(1) == batch.targets).sum()
            if number % 6 == 0:
                json.dumps({"loss": total.item(), "accuracy": correct.item()})

    epoch()
    return timed(epoch)


def rank(number: int, folder: str, way: str) -> None:
    """Be one of two ranks, and leave the seconds that an epoch took."""
    store = dist.FileStore(f"{folder}/store", 2)
    dist.init_process_group("gloo", store=store, rank=number, world_size=2, timeout=timedelta(seconds=300))
    ranks = Ranks(number, 2, number, 2)
    ranks._group = dist.group.WORLD
    place = Path(folder).parent
    seconds = by_hand(place, ranks) if "hand" in way else ours(place, ranks, "++device.sync_batchnorm=false")
    if number == 0:
        (Path(folder) / "seconds").write_text(str(seconds))
    ranks.wait()


def alone(number: int, folder: str, way: str) -> None:
    threads = "device.threads=1" if "one core" in way else "device.threads=auto"
    (Path(folder) / "seconds").write_text(str(ours(Path(folder).parent, None, threads)))


def seconds_of(way: str, parent: Path) -> float:
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        is_alone = way.startswith("one")
        mp.spawn(alone if is_alone else rank, (folder, way), 1 if is_alone else 2)  # type: ignore[no-untyped-call]
        return float((Path(folder) / "seconds").read_text())


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for way in WAYS:
                times[way].append(seconds_of(way, Path(folder)))
    table = Table("way", "images/s (median)", *(f"time / {way}" for way in WAYS), title=f"{rounds} rounds, ResNet-18")
    for way, found in times.items():
        ratios = [
            statistics.median(one / other for one, other in zip(found, times[base], strict=True)) for base in WAYS
        ]
        speed = BATCH * STEPS / statistics.median(found)
        table.add_row(way, f"{speed:.0f}", *(f"{ratio:.2f}" for ratio in ratios))
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
