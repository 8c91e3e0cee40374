"""Apply a trained model to a dataset; worker processes read the images."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from expkit.data.batches import BadSample, Samples
from expkit.data.dataset import ImageDataset
from expkit.data.loader import Loader, LoaderOptions
from expkit.data.samplers import Order
from expkit.devices.device import available_cores
from expkit.inference.trained_model import Trained
from expkit.inference.tta import Views

FEW = 32  # images: starting workers would take longer than reading them


class Scored(NamedTuple):
    """indices: (N,) int64 into the dataset; images: (N, 3, h, w) uint8, transformed; targets: (N, …) of the dataset.

    outputs: (N, C) probabilities of classes; of other tasks (N, …) what their metrics take, on the device. failed:
    samples of this batch that could not be read; they are not in indices.
    """

    indices: NDArray[np.int64]
    images: Tensor
    outputs: Tensor
    failed: tuple[BadSample, ...]
    targets: Tensor


def score(
    trained: Trained,
    dataset: ImageDataset,
    batch_size: int = 64,
    num_workers: int | None = None,
    views: Views = "none",
    timeout: float = 60.0,
) -> Iterator[Scored]:
    """Yield the dataset's samples in order, a batch at a time, with those that cannot be read.

    num_workers: None for one per core. timeout: seconds to wait for a worker. Raises ConfigError for images that do not
    stack, WorkerFailed.
    """
    if num_workers is None:
        num_workers = 0 if dataset.in_memory or len(dataset) <= FEW else available_cores()
    samples = Samples(dataset, trained.chain, 0, "eval", "skip")
    every = Order(len(dataset), lambda generator: np.arange(len(dataset)))
    apply = trained.probabilities if trained.task.form == "classes" else trained.outputs
    pin = trained.device.torch_device.type == "cuda"
    options = LoaderOptions(num_workers=num_workers, timeout=timeout, pin_memory=pin)
    loader = Loader(samples, every, batch_size, options)
    try:
        for batch in loader.epoch(0):
            outputs = apply(batch.images, views) if len(batch.indices) else Tensor(0, len(trained.classes))
            yield Scored(batch.indices.numpy(), batch.images, outputs, batch.bad, batch.targets)
    except RuntimeError as error:
        if failed := loader.failure(error):
            raise failed from error
        raise
    finally:
        loader.close()
