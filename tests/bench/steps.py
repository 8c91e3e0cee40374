"""Steps of training and evaluation against plain torch: SqueezeNet and ResNet-18 at 224 pixels, batches of 32.

python tests/bench/steps.py [ROUNDS [compile] [squeezenet|resnet18]]

Plain torch is float32, contiguous, with glibc's allocator as it is. Each way has a process of its own, since the
allocator is the process's; images are there already. `compile` adds evaluation with device.compile (its first step
takes a minute).
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

STEPS, BATCH, SIZE, CLASSES = 6, 32, 224, 5
MODELS = ("squeezenet", "resnet18")
PLAIN = "torch, float32"
TRAINING = {
    PLAIN: None,
    "expkit, fp32, contiguous, freed memory given back": ["device.channels_last=false", "device.keep_memory=false"],
    "expkit, fp32": [],
    "expkit, bf16": ["device.precision=bf16"],
}
EVALUATION = {PLAIN: None, "expkit, fp32": [], "expkit, bf16": ["device.precision=bf16"]}
COMPILED = {"expkit, bf16, compile": ["device.precision=bf16", "device.compile=true"]}


def by_hand(model_name: str, task: str) -> Callable[[], object]:
    """Return STEPS steps of a loop of one's own, with loss and accuracy."""
    import torch
    from torch import nn
    from torchvision import models

    model = models.get_model({"squeezenet": "squeezenet1_1"}.get(model_name, model_name), num_classes=CLASSES)
    optimizer, loss_of = torch.optim.AdamW(model.parameters(), lr=1e-4), nn.CrossEntropyLoss()
    images, targets = torch.rand(BATCH, 3, SIZE, SIZE), torch.arange(BATCH) % CLASSES

    def train() -> None:
        model.train()
        for _ in range(STEPS):
            optimizer.zero_grad()
            logits = model(images)
            loss = loss_of(logits, targets)
            loss.backward()
            optimizer.step()
            loss.item(), (logits.argmax(1) == targets).sum().item()

    @torch.no_grad()
    def evaluate() -> None:
        model.eval()
        for _ in range(STEPS):
            logits = model(images)
            loss_of(logits, targets).item(), (logits.argmax(1) == targets).sum().item()

    return train if task == "training" else evaluate


def ours(model_name: str, task: str, overrides: list[str]) -> Callable[[], object]:
    """Return the trainer's epoch of STEPS steps, from pixels in memory."""
    from expkit.config.compose import compose_one, plain
    from expkit.runs.build import build

    count = STEPS * BATCH
    data = [f"dataset.root={tempfile.gettempdir()}/expkit-bench-shapes", f"dataset.size={SIZE}"]
    data += [f"dataset.train_images={count}", f"dataset.val_images={count}", "dataset.cache=memory"]
    recipe = ["transforms=imagenet", "transforms.train=[]", "transforms.eval=[]", f"model={model_name}", "watch=none"]
    rest = ["optimizer.lr=0.0001", f"batch_size={BATCH}", "dataset.num_workers=0", "logger=none", "epochs=99"]
    trainer = build(plain(compose_one([*data, *recipe, *rest, *overrides]))).trainer

    def train() -> None:
        trainer.state.position.batch = 0
        trainer.train_epoch()

    return train if task == "training" else trainer.evaluate


def child(task: str, model_name: str, overrides: str) -> None:
    """Print the seconds of one step."""
    given = json.loads(overrides)
    steps = by_hand(model_name, task) if given is None else ours(model_name, task, given)
    steps()
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        steps()
        seconds.append((time.perf_counter() - began) / STEPS)
    print(statistics.median(seconds))


def seconds_of(*given: str) -> float:
    done = subprocess.run([sys.executable, __file__, "child", *given], check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    tasks: dict[str, dict[str, Any]] = {"training": TRAINING, "evaluation": EVALUATION}
    if "compile" in sys.argv:
        tasks["evaluation"] = EVALUATION | COMPILED
    for task, ways in tasks.items():
        for model_name in [name for name in MODELS if name in sys.argv] or MODELS:
            times: dict[str, list[float]] = {way: [] for way in ways}
            for _ in track(range(rounds), f"{task}, {model_name}", transient=True):
                for way, overrides in ways.items():
                    times[way].append(seconds_of(task, model_name, json.dumps(overrides)))
            show(f"{task}, {model_name}, {rounds} alternating rounds", times)


def show(title: str, times: dict[str, list[float]]) -> None:
    table = Table("way", "ms a step (median)", "images/s", "ratio (median of rounds)", "worst, best", title=title)
    for way, found in times.items():
        ratios = [other / one for one, other in zip(found, times[PLAIN], strict=True)]
        middle = statistics.median(found)
        spread = f"{min(ratios):.2f}, {max(ratios):.2f}"
        table.add_row(way, f"{1e3 * middle:.0f}", f"{BATCH / middle:.0f}", f"{statistics.median(ratios):.2f}", spread)
    Console(width=130).print(table)


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(*sys.argv[2:5])
    else:
        main()
