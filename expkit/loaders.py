"""The loaders of a run: batches of training and of validation, read by so many processes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from expkit.data import transforms as pixels
from expkit.data.cache import Cache, CachedImages, cached
from expkit.data.dataset import Splits
from expkit.data.datasets import DataOptions
from expkit.data.loader import Loader
from expkit.data.samplers import Order
from expkit.data.samples import Samples
from expkit.devices import Device, Ranks
from expkit.devices.placement import available_cores
from expkit.registry import ConfigError, datasets
from expkit.training.options import RunOptions

Config = Mapping[str, Any]


def build_loaders(
    node: Config,
    splits: Splits,
    chains: Mapping[str, pixels.Chain],
    order: Order,
    options: RunOptions,
    device: Device,
    ranks: Ranks | None = None,
) -> tuple[Loader, Loader]:
    """Return the loaders of training and validation; of a rank, those of its part of each batch."""
    data: DataOptions = datasets.shared(node)
    assert splits.val is not None
    if data.drop_last and options.batch_size > len(order):
        raise ConfigError(
            f"batch_size: {options.batch_size} is more than the {len(order)} samples of an epoch, and dataset.drop_last"
            " leaves out the smaller batch, so no batch remains; lower batch_size or set dataset.drop_last=false"
        )
    cores = available_cores() if data.num_workers == "auto" else data.num_workers
    cache = Cache(data.cache, Path(data.cache_dir), cores)
    train_data, train_chain = cached(splits.train, chains["train"], cache, "train")
    val_data, val_chain = cached(splits.val, chains["eval"], cache, "val")
    train = Samples(train_data, train_chain, options.seed, "sample", data.on_bad)
    val = Samples(val_data, val_chain, options.seed, "eval", "fail" if data.on_bad == "fail" else "skip")
    every = Order(len(val_data), lambda generator: np.arange(len(val_data)))
    eval_batch_size = options.eval_batch_size or options.batch_size
    own: dict[str, Any] = {"part": (ranks.rank, ranks.size)} if ranks else {}
    own |= loading(data, train, device, ranks.local_size if ranks else 1)
    return (
        Loader(train, order, options.batch_size, drop_last=data.drop_last, **own),
        Loader(val, every, eval_batch_size, **own | loading(data, val, device, ranks.local_size if ranks else 1)),
    )


def loading(data: DataOptions, samples: Samples, device: Device, sharing: int = 1) -> dict[str, Any]:
    """Return how a loader reads: by worker processes where that is worth it. sharing: ranks that share the cores."""
    workers = data.num_workers
    if workers == "auto":
        is_quick = samples.dataset.in_memory and (samples.in_batches or not isinstance(samples.dataset, CachedImages))
        workers = 0 if is_quick else max(available_cores() // sharing, 1)
    return {
        "num_workers": workers,
        "prefetch": data.prefetch,
        "start_method": data.start_method,
        "timeout": data.timeout,
        "pin_memory": device.torch_device.type == "cuda",
        "max_bad": data.max_bad,
    }
