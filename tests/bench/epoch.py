"""An epoch of SqueezeNet from photographs: expkit's run against the tutorial's loop, each in a process of its own.

python tests/bench/epoch.py [FOLDER [ROUNDS]]

FOLDER holds JPEG photographs, at any depth; without one, some of 500x375 pixels are drawn. The tutorial's loop:
ImageFolder, Pillow, torchvision v1 to float, DataLoader with two workers, float32, loss.item() at each step. Ours runs
the same recipe (224 pixels, batches of 32, SGD) through assembly and Trainer. An epoch to warm up is not counted.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

EPOCHS = 2
WAYS = {
    "tutorial, float32": [],
    "expkit, fp32": ["device.precision=fp32"],
    "expkit, bf16": ["device.precision=bf16"],
    "expkit, bf16, dataset.cache=memory": ["device.precision=bf16", "dataset.cache=memory"],
}


def tutorial(root: str) -> float:
    """Return seconds an epoch of the tutorial's loop."""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader
    from torchvision import datasets, models, transforms

    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    steps = [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    data = datasets.ImageFolder(root, transforms.Compose([*steps, transforms.Normalize(mean, std)]))
    loader = DataLoader(data, 32, shuffle=True, num_workers=2)
    torch.set_num_threads(2)
    model, loss_of = models.squeezenet1_1(num_classes=2), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
    seconds = []
    for _ in range(EPOCHS + 1):
        began, total = time.perf_counter(), 0.0
        for images, targets in loader:
            optimizer.zero_grad()
            loss = loss_of(model(images), targets)
            loss.backward()
            optimizer.step()
            total += loss.item()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def ours(root: str, overrides: list[str]) -> float:
    """Return seconds an epoch of our loop."""
    from expkit.config.compose import compose_one, plain
    from expkit.runs.build import build

    recipe = ["dataset=image_folder", f"dataset.root={root}", "dataset.val_fraction=0.01", "dataset.num_workers=2"]
    recipe += ["transforms=imagenet", "model=squeezenet", "optimizer=sgd", "optimizer.lr=0.001", "schedule=constant"]
    job = build(plain(compose_one([*recipe, "batch_size=32", f"epochs={EPOCHS + 1}", *overrides])))
    seconds = []
    for _ in range(EPOCHS + 1):
        began = time.perf_counter()
        job.trainer.train_epoch()
        seconds.append(time.perf_counter() - began)
        job.trainer.state.position.next_epoch()
    job.close()
    return statistics.median(seconds[1:])


def photographs(folder: Path, root: Path) -> None:
    """Put 200 photographs into two class folders."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    for number in range(200):
        place = root / "ab"[number % 2] / f"{number}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(found[number % len(found)], place)


def main() -> None:
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    with tempfile.TemporaryDirectory() as temporary:
        root, drawn = Path(temporary) / "photos", Path(temporary) / "drawn"
        if len(sys.argv) < 2:
            from data import draw  # the script beside this one

            drawn.mkdir()
            draw(drawn)
        photographs(Path(sys.argv[1]) if len(sys.argv) > 1 else drawn, root)
        times: dict[str, list[float]] = {name: [] for name in WAYS}
        for _ in track(range(rounds), description="rounds", transient=True):
            for name, overrides in WAYS.items():
                command = [sys.executable, __file__, "--one", str(root), name.partition(",")[0], *overrides]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                times[name].append(json.loads(done.stdout.splitlines()[-1]))
    table = Table("way", "seconds an epoch (median)", "times as fast (median)", title=f"SqueezeNet, {rounds} rounds")
    for name, found in times.items():
        ratio = statistics.median(one / other for one, other in zip(times["tutorial, float32"], found, strict=True))
        table.add_row(name, f"{statistics.median(found):.2f}", f"{ratio:.2f}")
    Console().print(table)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        _, _, place, way, *chosen = sys.argv
        print(json.dumps(tutorial(place) if way == "tutorial" else ours(place, chosen)))
    else:
        main()
