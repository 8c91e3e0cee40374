"""The loop against a bare one: time per step on a tiny model, batches in memory, logging every 50 steps.

python tests/bench/loop.py [ROUNDS]
"""

import importlib.util
import json
import logging
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from expkit.data.samples import Batch
from expkit.devices import Device, DeviceOptions
from expkit.loggers import JsonlLogger, LoggerGuard, TensorBoardLogger
from expkit.loggers.base import RunFacts
from expkit.training.metrics import EvalMetrics, TrainMetrics
from expkit.training.optimizers import build_optimizer
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

    def __iter__(self) -> Iterator[Batch]:
        return self.epoch(0)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        return iter([self.batch] * (STEPS - start))


def tiny() -> nn.Module:
    """About 200 µs a step where the machine is idle."""
    layers = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 32), nn.ReLU(), nn.Linear(32, CLASSES)]
    return nn.Sequential(*layers)


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
    optimizer = build_optimizer({"name": "sgd", "lr": 0.01}, model)
    more = [TensorBoardLogger(folder / "events", 30)] if tensorboard else []
    guard = LoggerGuard([JsonlLogger(folder / "ours.jsonl"), *more])
    guard.start(RunFacts("bench", str(folder), {}, {}))
    parts = Parts(
        model=model, normalize=nn.Identity(), loss=nn.CrossEntropyLoss(), optimizer=optimizer,
        schedule=build_schedule({"name": "constant"}, optimizer, STEPS, STEPS), train=data, val=data,  # type: ignore[arg-type]
        train_metrics=TrainMetrics(), device=DEVICE, logger=guard,
        eval_metrics=EvalMetrics("single_label", CLASSES, DEVICE.torch_device),
    )  # fmt: skip
    runner = Runner(parts, RunOptions(epochs=1, log_every=50))
    began = time.perf_counter()
    runner.train_epoch()
    seconds = time.perf_counter() - began
    guard.close({})
    return seconds


def lightning(folder: Path) -> float:
    """The same with Lightning: loss and accuracy logged every 50 steps to a CSV file, everything else switched off."""
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.loggers import CSVLogger

    class Tiny(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.loss_of = tiny(), nn.CrossEntropyLoss()

        def training_step(self, batch: Batch, number: int) -> torch.Tensor:
            logits = self.model(batch.images)
            loss: torch.Tensor = self.loss_of(logits, batch.targets)
            accuracy = (logits.argmax(1) == batch.targets).float().mean()
            self.log_dict({"loss": loss, "accuracy": accuracy})
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.01)

        def on_train_epoch_start(self) -> None:
            self.began = time.perf_counter()

        def on_train_epoch_end(self) -> None:
            self.seconds = time.perf_counter() - self.began

    module = Tiny()
    off = {"enable_progress_bar": False, "enable_checkpointing": False, "enable_model_summary": False}
    trainer = Trainer(max_epochs=1, accelerator="cpu", logger=CSVLogger(str(folder)), log_every_n_steps=50, **off)
    trainer.fit(module, InMemory())
    return module.seconds


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    ways: dict[str, Callable[[Path], float]] = {
        "bare loop, logs loss and accuracy": bare,
        "bare loop, logs nothing": lambda folder: bare(folder, log=False),
        "expkit, metrics.jsonl": lambda folder: ours(folder, tensorboard=False),
        "expkit, metrics.jsonl and TensorBoard": lambda folder: ours(folder, tensorboard=True),
    }
    if importlib.util.find_spec("lightning"):
        ways["Lightning, CSV"] = lightning
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        warnings.simplefilter("ignore")
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
