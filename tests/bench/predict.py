"""What predict costs beside the eval pipeline that it is made of: python -m tests.bench.predict FOLDER [ROUNDS].

FOLDER: images, searched through to the bottom. A squeezenet with fresh weights predicts them all, in bf16 and in
channels_last. `bare loop`: the same Loader, transforms and model, with nothing done to what comes out.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import expkit
from expkit.data.batches import Samples
from expkit.data.loader import Loader, LoaderOptions
from expkit.data.samplers import Order
from expkit.devices.device import available_cores
from expkit.inference import Trained, collect_images, path_images, score
from expkit.inference.predict.predict import PredictOptions, predict

BATCH_SIZE = 64


def trained_model(folder: Path) -> Trained:
    """Train a squeezenet for one step on drawn shapes: its speed is that of any other squeezenet."""
    shapes = [f"dataset.root={folder}/shapes", "dataset.train_images=20", "dataset.val_images=10"]
    rest = ["model=squeezenet", "transforms=imagenet", "epochs=1", "max_steps=1", "device.precision=bf16"]
    return expkit.train([*shapes, *rest, "logger=none", f"output_dir={folder}"]).load()


@torch.inference_mode()
def bare_loop(trained: Trained, paths: list[str]) -> None:
    data = path_images(paths, trained.classes)
    order = Order(len(data), lambda generator: np.arange(len(data)))
    samples = Samples(data, trained.chain, 0, "eval", "skip")
    loader = Loader(samples, order, BATCH_SIZE, LoaderOptions(available_cores()))
    for batch in loader.epoch(0):
        trained.logits(trained.device.images(batch.images))
    loader.close()


def scores(trained: Trained, paths: list[str]) -> None:
    for _ in score(trained, path_images(paths, trained.classes), BATCH_SIZE):
        pass


def main() -> None:
    paths = collect_images([sys.argv[1]])
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    with tempfile.TemporaryDirectory() as place:
        trained = trained_model(Path(place))
        to_csv = PredictOptions(output=Path(place) / "out.csv", batch_size=BATCH_SIZE)
        ways: dict[str, Callable[[], object]] = {
            "bare loop": lambda: bare_loop(trained, paths),
            "score": lambda: scores(trained, paths),
            "predict to CSV": lambda: predict(trained, paths, to_csv),
        }
        bare_loop(trained, paths)  # warm files and kernels
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                began = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - began)
    print(f"\n{len(paths):,} images, {rounds} rounds in turn, {available_cores()} cores")
    for name, times in seconds.items():
        ratios = [one / bare for one, bare in zip(times, seconds["bare loop"], strict=True)]
        speed = len(paths) / statistics.median(times)
        print(f"{name:<16}{speed:>8,.0f} images/s   time {statistics.median(ratios):.2f} x that of the bare loop")


if __name__ == "__main__":
    main()
