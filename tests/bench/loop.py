"""The loop against a bare one: time per step on a tiny model, batches in memory, logging every 50 steps.

python tests/bench/loop.py [ROUNDS]
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from expkit.data.loader import Batch
from expkit.devices import Device, DeviceOptions
from expkit.loggers import JsonlLogger, LoggerGuard, TensorBoardLogger
from expkit.loggers.base import RunFacts
from expkit.training.metrics import EvalMetrics, TrainMetrics
from expkit.training.options import RunOptions
from expkit.training.runner import Parts, Runner
from expkit.training.schedules import build_schedule

STEPS, BATCH, CLASSES = 1000, 32, 10
DEVICE = Device(torch.device("cpu"), DeviceOptions(channels_last=False))


class InMemory:
    """Batches that are there already: what is timed is the loop."""

    def __init__(self) -> None:
        images = torch.randn(BATCH, 3, 8, 8)
        self.batch = Batch(images, torch.randint(CLASSES, (BATCH,)), torch.arange(BATCH))

    def __len__(self) -> int:
        return STEPS

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        return iter([self.batch] * (STEPS - start))


def tiny() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 32), nn.ReLU(), nn.Linear(32, CLASSES)
    )


def bare(folder: Path, log: bool = True) -> float:
    model, loss_of, data = tiny(), nn.CrossEntropyLoss(), InMemory()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    total, correct = torch.zeros(()), torch.zeros(())
    file = open(folder / "bare.jsonl", "w")  # noqa: SIM115
    began = time.perf_counter()
    for step, batch in enumerate(data.epoch(0), start=1):
        optimizer.zero_grad()
        logits = model(batch.images)
        loss = loss_of(logits, batch.targets)
        loss.backward()
        optimizer.step()
        if log:
            total += loss.detach()
            correct += (logits.argmax(1) == batch.targets).sum()
            if step % 50 == 0:
                line = {"step": step, "loss": total.item() / 50, "accuracy": correct.item() / 50 / BATCH}
                file.write(json.dumps(line) + "\n")
                total.zero_()
                correct.zero_()
    seconds = time.perf_counter() - began
    file.close()
    return seconds


def ours(folder: Path, tensorboard: bool) -> float:
    model, data = tiny(), InMemory()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    more = [TensorBoardLogger(folder / "events", 30)] if tensorboard else []
    guard = LoggerGuard([JsonlLogger(folder / "ours.jsonl"), *more])
    guard.start(RunFacts("bench", str(folder), {}, {}))
    parts = Parts(
        model=model, normalize=nn.Identity(), loss=nn.CrossEntropyLoss(), optimizer=optimizer,
        schedule=build_schedule({"name": "constant"}, optimizer, STEPS, STEPS), train=data, val=data,  # type: ignore[arg-type]
        train_metrics=TrainMetrics(DEVICE.torch_device), device=DEVICE, logger=guard,
        eval_metrics=EvalMetrics("single_label", CLASSES, DEVICE.torch_device),
    )  # fmt: skip
    runner = Runner(parts, RunOptions(epochs=1, log_every=50))
    began = time.perf_counter()
    runner.train_epoch()
    seconds = time.perf_counter() - began
    guard.close({})
    return seconds


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    ways: dict[str, Callable[[Path], float]] = {
        "bare loop, logs loss and accuracy": bare,
        "bare loop, logs nothing": lambda folder: bare(folder, log=False),
        "expkit, metrics.jsonl": lambda folder: ours(folder, tensorboard=False),
        "expkit, metrics.jsonl and TensorBoard": lambda folder: ours(folder, tensorboard=True),
    }
    torch.set_num_threads(1)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                seconds = way(Path(folder))
            if number:  # the first round warms up
                times[name].append(seconds)
    reference = times["bare loop, logs loss and accuracy"]
    table = Table("way", "µs a step (median)", "ratio (median of pairs)", title=f"{rounds} alternating rounds, CPU")
    for name, found in times.items():
        ratio = statistics.median(one / other for one, other in zip(found, reference, strict=True))
        table.add_row(name, f"{statistics.median(found) / STEPS * 1e6:.0f}", f"{ratio:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
