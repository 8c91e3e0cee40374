"""Build the data loaders of training and validation."""

from expkit.config.registry import datasets, samplers
from expkit.core.errors import ConfigError
from expkit.core.formatting import count_noun
from expkit.core.user_folders import expanded
from expkit.data.batches import Samples
from expkit.data.cache import Cache, CachedImages, cached
from expkit.data.datasets import DataOptions
from expkit.data.limits import evaluation_order, training_order
from expkit.data.loader import Loader, LoaderOptions
from expkit.data.samplers import Order
from expkit.devices import Device
from expkit.devices.device import available_cores
from expkit.runs.setup import Setup


def build_orders(setup: Setup) -> tuple[Order, Order]:
    """Return the orders of training and of validation. Raises ConfigError."""
    data, val, options = setup.splits.train, setup.splits.val, setup.options
    assert val is not None
    order: Order = samplers.build(setup.config["sampler"], targets=data.targets, class_names=data.class_names)
    size = options.eval_batch_size or options.batch_size
    return (
        training_order(order, data, options.seed, options.batch_size, options.limit_train_batches),
        evaluation_order(val, options.seed, size, options.limit_eval_batches),
    )


def build_loaders(setup: Setup, orders: tuple[Order, Order]) -> tuple[Loader, Loader]:
    """Return the loaders of training and validation, for a rank's part of each batch. Raises ConfigError."""
    options, splits, chains, ranks = setup.options, setup.splits, setup.basis.chains, setup.ranks
    order, evaluated = orders
    data: DataOptions = datasets.shared(setup.config["dataset"])
    assert splits.val is not None
    if data.drop_last and options.batch_size > len(order):
        raise ConfigError(
            f"batch_size: {options.batch_size} is more than the {count_noun(len(order), 'sample')} of an epoch, so"
            " dataset.drop_last leaves no batch; lower batch_size or set dataset.drop_last=false"
        )
    cores = available_cores() if data.num_workers == "auto" else data.num_workers
    cache = Cache(data.cache, expanded(data.cache_dir), cores)
    train_data, train_chain = cached(splits.train, chains["train"], cache, "train")
    val_cache = cache if len(splits.val) else Cache("none", cache.folder, cores)
    val_data, val_chain = cached(splits.val, chains["eval"], val_cache, "val")
    train = Samples(train_data, train_chain, options.seed, "sample", data.on_bad)
    val = Samples(val_data, val_chain, options.seed, "eval", "fail" if data.on_bad == "fail" else "skip")
    part, sharing = ((ranks.rank, ranks.size), ranks.local_size) if ranks else (None, 1)
    options_of = [_loader_options(data, samples, setup.device, sharing) for samples in (train, val)]
    return (
        Loader(train, order, options.batch_size, options_of[0], drop_last=data.drop_last, part=part),
        Loader(val, evaluated, options.eval_batch_size or options.batch_size, options_of[1], part=part),
    )


def _loader_options(data: DataOptions, samples: Samples, device: Device, sharing: int) -> LoaderOptions:
    """Return a loader's options; "auto" means workers if they help. sharing: ranks that share the cores."""
    is_quick = samples.dataset.in_memory and (samples.in_batches or not isinstance(samples.dataset, CachedImages))
    worthwhile = 0 if is_quick else max(available_cores() // sharing, 1)
    return LoaderOptions(
        num_workers=data.num_workers if isinstance(data.num_workers, int) else worthwhile,
        prefetch=data.prefetch,
        start_method=data.start_method,
        timeout=data.timeout,
        pin_memory=device.torch_device.type == "cuda",
        max_bad=data.max_bad,
    )
