"""The data path against the classic way: ImageFolder, Pillow, torchvision v1 to float, DataLoader with two workers.

python tests/bench/data.py [FOLDER [ROUNDS]]

FOLDER holds JPEG photographs, at any depth; without one, 96 of 500x375 pixels are drawn. Every way is timed once per
round, over as many epochs as a second holds, in alternating rounds, and compared with the classic way of the same
round.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as v1

from expkit.core.seeding import derive_seed, seed_cpu
from expkit.data.batches import Samples
from expkit.data.cache import Cache, Kind, cached
from expkit.data.dataset import ImageDataset
from expkit.data.datasets.image_files import ImageFiles, image_paths
from expkit.data.datasets.in_memory import ImageArrays
from expkit.data.decode import Decoder
from expkit.data.loader import Loader, LoaderOptions
from expkit.data.samplers import Order
from expkit.data.transforms import IMAGENET_MEAN, IMAGENET_STD, Chain, build_chain

BATCH, WORKERS = 32, 2
SHORTEST = 1.0  # seconds of one timing
TRAIN = [{"name": "RandomResizedCrop", "size": 224}, {"name": "RandomHorizontalFlip"}]
EVAL = [{"name": "Resize", "size": 256}, {"name": "CenterCrop", "size": 224}]
FLOAT = [v1.ToTensor(), v1.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
CLASSIC_TRAIN = v1.Compose([v1.RandomResizedCrop(224), v1.RandomHorizontalFlip(), *FLOAT])
CLASSIC_EVAL = v1.Compose([v1.Resize(256), v1.CenterCrop(224), *FLOAT])


class Classic(Dataset[tuple[Tensor, int]]):
    """What ImageFolder does: Pillow opens, converts to RGB, and the transforms give float tensors."""

    def __init__(self, paths: list[Path], transform: Callable[[Image.Image], Tensor], keyed: bool) -> None:
        self.paths, self.transform, self.keyed = paths, transform, keyed

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if self.keyed:  # as a sample of ours that any generator may serve
            seed_cpu(derive_seed(0, "sample", 0, index))
        with open(self.paths[index], "rb") as file:
            return self.transform(Image.open(file).convert("RGB")), 0


def classic(
    paths: list[Path], transform: Callable[[Image.Image], Tensor], shuffle: bool, keyed: bool = False
) -> Callable[[], int]:
    loader = DataLoader(Classic(paths, transform, keyed), BATCH, shuffle, num_workers=WORKERS, persistent_workers=True)

    def epoch() -> int:
        return sum(len(images) for images, _ in loader)

    return epoch


def files(folder: Path, repeats: int, region: bool = False) -> ImageFiles:
    paths = image_paths(folder) * repeats
    data = ImageFiles(folder, paths, [0] * len(paths), ["photo", "none"])
    data.decoder = Decoder(region=region)
    return data


def ours(
    data: ImageFiles, recipe: list[dict[str, Any]], kind: Kind = "none", in_turn: bool = False
) -> Callable[[], int]:
    """Return one epoch of ours. in_turn: in the order of the data, as evaluation reads it, else shuffled."""
    dataset, chain = cached(data, build_chain(recipe, 224, 256), Cache(kind, Path("unused"), WORKERS), "bench")
    samples = Samples(dataset, chain, 0, "sample")
    length = len(data)
    draw = (lambda generator: np.arange(length)) if in_turn else (lambda generator: shuffled(length, generator))
    loader = Loader(samples, Order(length, draw), BATCH, LoaderOptions(0 if samples.in_batches else WORKERS))
    numbers = iter(range(1_000_000))

    def epoch() -> int:
        return sum(len(batch.images) for batch in loader.epoch(next(numbers)))

    return epoch


def shuffled(length: int, generator: torch.Generator) -> "np.ndarray[Any, np.dtype[np.int64]]":
    order: np.ndarray[Any, np.dtype[np.int64]] = torch.randperm(length, generator=generator).numpy()
    return order


def draw(folder: Path, count: int = 96) -> None:
    """Draw pictures of 500x375 with the detail of photographs: smooth colour fields and fine noise."""
    chance = np.random.default_rng(0)
    for number in range(count):
        fields = Image.fromarray(chance.integers(0, 255, (12, 16, 3), dtype=np.uint8)).resize((500, 375), 3)
        pixels = np.asarray(fields).astype(np.int16) + chance.normal(0, 12, (375, 500, 3)).astype(np.int16)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.jpg", quality=90)


class Digits(Dataset[tuple[Tensor, int]]):
    """28x28 images the classic way, as torchvision's MNIST gives them: one Pillow image at a time."""

    def __init__(self, pixels: "np.ndarray[Any, Any]") -> None:
        self.pixels, self.transform = pixels, v1.ToTensor()

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[index])), index % 10


def small_cnn() -> Callable[[Tensor, Tensor], None]:
    layers = [torch.nn.Conv2d(1, 8, 3, 2), torch.nn.ReLU(), torch.nn.Conv2d(8, 16, 3, 2), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(16 * 36, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def step(images: Tensor, targets: Tensor) -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), targets).backward()
        optimizer.step()

    return step


def digits(train: bool) -> dict[str, Callable[[], int]]:
    """Epochs over 10,000 images of 28x28 in memory, batches of 128, alone or with a small CNN's training steps.

    What no loader can pass is shown too: the same steps on one batch that is there already.
    """
    pixels = np.random.default_rng(0).integers(0, 255, (10_000, 28, 28), dtype=np.uint8)
    slow = DataLoader(Digits(pixels), 128, shuffle=True, num_workers=WORKERS, persistent_workers=True)
    alone = DataLoader(Digits(pixels), 128, shuffle=True)
    data = ImageArrays(pixels, np.arange(10_000) % 10, [str(one) for one in range(10)], "train")
    order = Order(10_000, lambda generator: torch.randperm(10_000, generator=generator).numpy())
    fast = Loader(Samples(data, Chain(()), 0, "sample"), order, 128)
    step = small_cnn() if train else lambda images, targets: None

    def slowly(loader: DataLoader[tuple[Tensor, int]]) -> int:
        for images, targets in loader:
            step(images, targets)
        return len(pixels)

    def quickly() -> int:
        for batch in fast.epoch(0):
            step(batch.images[:, :1].float().div_(255) if train else batch.images, batch.targets)
        return len(pixels)

    ways = {"classic": lambda: slowly(slow), "classic, num_workers=0": lambda: slowly(alone), "expkit": quickly}
    ready = [(torch.rand(128, 1, 28, 28), torch.arange(128) % 10)] * len(fast)
    if train:
        ways["the steps alone"] = lambda: 128 * len([step(images, targets) for images, targets in ready])
    return ways


class Ready(ImageDataset):
    """224x224 images of one kind, with nothing to decode."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.one = torch.zeros(3, 224, 224, dtype=dtype)
        self.targets, self.class_names = np.zeros(1024, dtype=np.int64), ("one", "none")

    def __getitem__(self, index: int) -> Tensor:
        return self.one

    def image(self, index: int) -> Tensor:
        return self.one


def transfer() -> dict[str, Callable[[], int]]:
    """What it costs to hand 224x224 batches from two workers over: torch's DataLoader with either type, and ours."""
    ways = {}
    for name, dtype in (("float32", torch.float32), ("uint8", torch.uint8)):
        theirs = DataLoader(Ready(dtype), BATCH, num_workers=WORKERS, persistent_workers=True)
        ways[name] = lambda loader=theirs: sum(len(batch) for batch in loader)
    samples = Samples(Ready(torch.uint8), Chain(()), 0, "sample")
    ours = Loader(samples, Order(1024, lambda generator: np.arange(1024)), BATCH, LoaderOptions(WORKERS))
    return ways | {"expkit, uint8": lambda: sum(len(batch.images) for batch in ours.epoch(0))}


def timed(ways: dict[str, Callable[[], int]], rounds: int, title: str) -> None:
    """Time each way once per round, the first round not counted, and print images/s and ratios to the first way."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in track(range(rounds + 1), description=title, transient=True):
        for name, way in ways.items():
            began, count, seconds = time.perf_counter(), 0, 0.0
            while seconds < SHORTEST:
                count += way()
                seconds = time.perf_counter() - began
            if number:
                rates[name].append(count / seconds)
    table = Table(
        "way", "images/s (median)", "ratio (median of rounds)", "worst, best", title=f"{title}, {rounds} rounds"
    )
    reference = rates[next(iter(ways))]
    for name, found in rates.items():
        ratios = [one / other for one, other in zip(found, reference, strict=True)]
        spread = f"{min(ratios):.2f}, {max(ratios):.2f}"
        table.add_row(name, f"{statistics.median(found):,.0f}", f"{statistics.median(ratios):.2f}", spread)
    Console().print(table)


def pixels_of(folder: Path) -> None:
    """Print how far the pixels are from the classic way: the centre half, resized as RandomResizedCrop does."""
    from torchvision.transforms.v2 import functional as v2_functional

    differences, largest = [], 0
    for path in image_paths(folder):
        image = Image.open(folder / path).convert("RGB")
        width, height = image.size
        box = (height // 4, width // 4, height // 2, width // 2, [224, 224])
        theirs = v1.functional.pil_to_tensor(v1.functional.resized_crop(image, *box)).int()
        data = (folder / path).read_bytes()
        difference = (v2_functional.resized_crop(Decoder().decode(data, path), *box).int() - theirs).abs()
        differences.append(float(difference.float().mean()))
        largest = max(largest, int(difference.max()))
    Console().print(
        f"pixels, cropped and resized: mean difference {np.mean(differences):.3f} of 255, largest {largest}"
    )


def main() -> None:
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 7
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(temporary)
        if len(sys.argv) < 2:
            draw(folder)
        repeats = max(1, 1000 // len(image_paths(folder)))
        paths = [folder / path for path in image_paths(folder)] * repeats
        data, regions = files(folder, repeats), files(folder, repeats, region=True)
        pixels_of(folder)
        timed(
            {
                "classic": classic(paths, CLASSIC_TRAIN, True),
                "classic, every generator seeded by key per sample": classic(paths, CLASSIC_TRAIN, True, keyed=True),
                "expkit": ours(data, TRAIN),
                "expkit, dataset.decoder=region": ours(regions, TRAIN),
                "expkit, dataset.cache=memory": ours(data, TRAIN, "memory"),
            },
            rounds,
            "train recipe",
        )
        ways = {"classic": classic(paths, CLASSIC_EVAL, False), "expkit": ours(data, EVAL, in_turn=True)}
        timed(ways | {"expkit, dataset.cache=memory": ours(data, EVAL, "memory", in_turn=True)}, rounds, "eval recipe")
    timed(digits(train=False), rounds, "28x28 in memory, loader alone")
    timed(digits(train=True), rounds, "28x28 in memory, with a small CNN's steps")
    timed(transfer(), rounds, "handing 224x224 batches over")


if __name__ == "__main__":
    main()
