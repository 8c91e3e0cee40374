"""The loop against a bare one: time per step on a tiny model, batches in memory, logging every 50 steps.

python tests/bench/loop.py [ROUNDS]

Lightning, ignite, accelerate and MMEngine are timed in the same rounds where they are installed:
uv run --with lightning --with pytorch-ignite --with accelerate --with mmengine python tests/bench/loop.py
"""

import importlib.util
import json
import logging
import math
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from expkit.config.run_options import RunOptions
from expkit.data.batches import Batch
from expkit.devices import Device, DeviceOptions
from expkit.loggers.base import RunFacts
from expkit.loggers.hub import LoggerHub
from expkit.loggers.jsonl import JsonlLogger
from expkit.loggers.tensorboard import TensorBoardLogger
from expkit.tasks.class_metrics import Accuracy
from expkit.tasks.classification import Classification
from expkit.tasks.metrics import validation_metrics
from expkit.training.evaluation import Evaluator
from expkit.training.loss_share import BatchLoss
from expkit.training.losses import Guessing
from expkit.training.metrics import EvalMetrics, TrainMetrics
from expkit.training.observers import Monitor, Observers
from expkit.training.optimizers import build_optimizer
from expkit.training.schedules import build_schedule
from expkit.training.signals import Interruption
from expkit.training.step import StepKeys, TrainStep
from expkit.training.train_state import RunLength, TrainState
from expkit.training.trainer import Trainer
from expkit.training.watch import WatchDispatcher
from expkit.training.weight_averaging import ExponentialAverage

STEPS, BATCH, CLASSES = 1000, 32, 10
WINDOW, DECAY, LARGEST_NORM = 4, 0.999, 1.0  # of the ways that accumulate, average and clip
DEVICE = Device(torch.device("cpu"), DeviceOptions(channels_last=False))
LOGS = "bare loop, logs loss and accuracy"
MORE = "bare loop with EMA, clipping, accumulation over 4"


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


def bare_with_more(folder: Path) -> float:
    """A bare loop with an average of the weights, clipped gradients and an update every WINDOW batches."""
    model, loss_of, data = tiny(), nn.CrossEntropyLoss(), InMemory()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(DECAY), use_buffers=True)
    total, correct = torch.zeros(()), torch.zeros(())
    file = open(folder / "bare.jsonl", "w")  # noqa: SIM115
    began = time.perf_counter()
    for step, batch in enumerate(data.epoch(0), start=1):
        logits = model(batch.images)
        loss = loss_of(logits, batch.targets)
        (loss / WINDOW).backward()
        total += loss.detach()
        correct += (logits.argmax(1) == batch.targets).sum()
        if step % WINDOW == 0:
            nn.utils.clip_grad_norm_(model.parameters(), LARGEST_NORM)
            optimizer.step()
            average.update_parameters(model)
            optimizer.zero_grad()
        if step % (50 * WINDOW) == 0:
            line = {"step": step, "loss": total.item() / 50 / WINDOW, "accuracy": correct.item() / 50 / BATCH / WINDOW}
            file.write(json.dumps(line) + "\n")
            total.zero_()
            correct.zero_()
    seconds = time.perf_counter() - began
    file.close()
    return seconds


def ours(folder: Path, tensorboard: bool = False, more_options: bool = False) -> float:
    model, data = tiny(), InMemory()
    optimizer = build_optimizer({"name": "sgd", "lr": 0.01}, model)
    more = [TensorBoardLogger(folder / "events", 30)] if tensorboard else []
    guard = LoggerHub([JsonlLogger(folder / "ours.jsonl"), *more])
    guard.start(RunFacts("bench", str(folder), {}, {}))
    length = RunLength(STEPS, STEPS, STEPS)
    schedule = build_schedule({"name": "constant"}, optimizer, STEPS, STEPS)
    average = ExponentialAverage(model, DECAY) if more_options else None
    watch = WatchDispatcher(guard, Interruption())
    keys, loss = StepKeys(0), BatchLoss(nn.CrossEntropyLoss())
    step = TrainStep(Classification(), model, model, loss, nn.Identity(), DEVICE, keys, watch)
    evaluator = Evaluator(
        step, model, data, EvalMetrics(validation_metrics("single_label", CLASSES), DEVICE.torch_device)
    )  # type: ignore[arg-type]
    observers = Observers(guard, watch, Interruption(), Monitor("accuracy", True), Guessing(math.log(CLASSES)))
    windows = {"accumulate_steps": WINDOW, "clip_grad_norm": LARGEST_NORM} if more_options else {}
    options = RunOptions(epochs=1, log_every=50, **windows)  # type: ignore[arg-type]
    state = TrainState(model, optimizer, schedule, TrainMetrics([Accuracy()]), average=average)
    trainer = Trainer(state, step, data, evaluator, observers, options, length)  # type: ignore[arg-type]
    began = time.perf_counter()
    trainer.train_epoch()
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


def ignite(folder: Path) -> float:
    """The same with ignite: loss and accuracy by its metrics, written to TensorBoard every 50 steps by its handler."""
    from ignite.engine import Engine, Events
    from ignite.handlers.tensorboard_logger import OutputHandler, TensorboardLogger
    from ignite.metrics import Accuracy, Average

    model, loss_of, data = tiny(), nn.CrossEntropyLoss(), InMemory()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def step(engine: Engine, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        optimizer.zero_grad()
        logits = model(batch.images)
        loss = loss_of(logits, batch.targets)
        loss.backward()
        optimizer.step()
        return loss.detach(), logits.detach(), batch.targets

    trainer = Engine(step)
    Average(output_transform=lambda output: output[0]).attach(trainer, "loss")
    Accuracy(output_transform=lambda output: output[1:]).attach(trainer, "accuracy")
    writer = TensorboardLogger(log_dir=str(folder))
    handler = OutputHandler(
        "train", metric_names=["loss", "accuracy"], output_transform=lambda output: output[0].item()
    )
    writer.attach(trainer, handler, Events.ITERATION_COMPLETED(every=50))
    began = time.perf_counter()
    trainer.run(data, max_epochs=1)
    seconds = time.perf_counter() - began
    writer.close()
    return seconds


def accelerate(folder: Path) -> float:
    """The bare loop with accelerate's prepared model and optimizer, and its tracker for TensorBoard."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True, log_with="tensorboard", project_dir=str(folder))
    accelerator.init_trackers("bench")
    model, loss_of, data = tiny(), nn.CrossEntropyLoss(), InMemory()
    model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.01))
    total, correct = torch.zeros(()), torch.zeros(())
    began = time.perf_counter()
    for number, batch in enumerate(data.epoch(0), start=1):
        with accelerator.accumulate(model):
            optimizer.zero_grad()
            logits = model(batch.images)
            loss = loss_of(logits, batch.targets)
            accelerator.backward(loss)
            optimizer.step()
        total += loss.detach()
        correct += (logits.argmax(1) == batch.targets).sum()
        if number % 50 == 0:
            accelerator.log({"loss": total.item() / 50, "accuracy": correct.item() / 50 / BATCH}, step=number)
            total.zero_()
            correct.zero_()
    seconds = time.perf_counter() - began
    accelerator.end_training()
    return seconds


def mmengine(folder: Path) -> float:
    """The same with MMEngine's runner: its hook logs loss and accuracy every 50 steps, to a JSON file."""
    from mmengine.hooks import Hook
    from mmengine.model import BaseModel
    from mmengine.runner import Trainer as TheirRunner
    from torch.utils.data import DataLoader

    class Tiny(BaseModel):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model, self.loss_of = tiny(), nn.CrossEntropyLoss()

        def forward(self, images: torch.Tensor, targets: torch.Tensor, mode: str = "loss") -> dict[str, torch.Tensor]:
            logits = self.model(images)
            accuracy = (logits.argmax(1) == targets).float().mean()
            return {"loss": self.loss_of(logits, targets), "accuracy": accuracy}

    class Ready(DataLoader[Any]):
        def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:  # type: ignore[override]
            return iter([{"images": batch.images, "targets": batch.targets} for batch in InMemory()])

    class Clock(Hook):  # type: ignore[misc]
        def before_train_epoch(self, runner: Any) -> None:
            self.began = time.perf_counter()

        def after_train_epoch(self, runner: Any) -> None:
            self.seconds = time.perf_counter() - self.began

    clock = Clock()
    off = {"checkpoint": None, "param_scheduler": None, "sampler_seed": None}
    runner = TheirRunner(
        Tiny(), str(folder), train_dataloader=Ready(range(STEPS)), train_cfg={"by_epoch": True, "max_epochs": 1},
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.01}}, custom_hooks=[clock], log_level="ERROR",
        default_hooks=off | {"logger": {"type": "LoggerHook", "interval": 50}}, experiment_name=folder.name,
        env_cfg={"dist_cfg": {"backend": "gloo"}},
    )  # fmt: skip
    runner.train()
    return clock.seconds


PEERS = {
    "lightning": ("Lightning, CSV", lightning),
    "ignite": ("ignite, TensorBoard", ignite),
    "accelerate": ("accelerate, TensorBoard", accelerate),
    "mmengine": ("MMEngine, its JSON file", mmengine),
}


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    ways: dict[str, Callable[[Path], float]] = {
        LOGS: bare,
        "bare loop, logs nothing": lambda folder: bare(folder, log=False),
        "expkit, metrics.jsonl": ours,
        "expkit, metrics.jsonl and TensorBoard": lambda folder: ours(folder, tensorboard=True),
        MORE: bare_with_more,
        "expkit, metrics.jsonl, with all of these": lambda folder: ours(folder, more_options=True),
    }
    ways |= dict(way for package, way in PEERS.items() if importlib.util.find_spec(package))
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
    table = Table("way", "µs a step (median)", "ratio (median of pairs)", title=f"{rounds} alternating rounds, CPU")
    for name, found in times.items():
        reference = times[MORE if name.endswith("all of these") or name == MORE else LOGS]
        ratio = statistics.median(one / other for one, other in zip(found, reference, strict=True))
        table.add_row(name, f"{statistics.median(found) / STEPS * 1e6:.0f}", f"{ratio:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
