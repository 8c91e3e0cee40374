"""Check that batch normalisation can train on the smallest part of a batch."""

import math
from collections.abc import Iterator

from expkit.config.registry import datasets
from expkit.config.run_options import RunOptions
from expkit.core.errors import ConfigError
from expkit.data.datasets import DataOptions
from expkit.devices import Layout
from expkit.models.input_size import trains_on_one
from expkit.runs.setup import Config, Setup


def check_single_images(setup: Setup, length: int) -> None:
    """Raise ConfigError if a batch, part or micro-batch holds one image and the model cannot train on it.

    length: images of an epoch.
    """
    config, options, ranks = setup.config, setup.options, setup.ranks
    data: DataOptions = datasets.shared(config["dataset"])
    micro = setup.device.options.micro_batch
    layout = setup.placement if isinstance(setup.placement, Layout) else None
    parts = 1
    if layout and not (ranks and layout.sync_batchnorm):  # synchronised statistics are of the whole batch
        parts = ranks.size if ranks else sum(device.type == "cuda" for device in layout.devices) or 1
    elif ranks:
        micro = None
    for batch in _batches(length, data.drop_last, options):
        for part in _parts(batch, parts, ranks is not None):
            if 1 in _micro_batches(part, micro if isinstance(micro, int) else None):
                if trains_on_one(setup.basis.model, *setup.basis.seen):
                    return
                raise ConfigError(_problem(config, batch, part, parts, length, options))


def _problem(config: Config, batch: int, part: int, parts: int, length: int, options: RunOptions) -> str:
    name, size = config["model"]["name"], options.batch_size
    cannot = f"and {name} cannot train on one image: batch normalisation needs two or more values per channel"
    is_last = batch < size and length > size
    if batch == 1 and is_last:
        remedy = "set dataset.drop_last=true, or another batch_size"
        return f"batch_size: the last batch of {length:,} images by {size} holds one, {cannot}; {remedy}"
    if batch == 1:
        return f"batch_size: a batch holds one image, {cannot}; raise batch_size" + ", and add images" * (length < 2)
    which = f"the last batch of an epoch ({batch} images)" if is_last else f"a batch of {batch} images"
    if part > 1:
        remedy = "set dataset.drop_last=true, or another" if is_last else "set another"
        return (
            f"device.micro_batch: a micro-batch of {which} holds a single image, {cannot}; {remedy} device.micro_batch"
        )
    remedy = "set dataset.drop_last=true, or another batch_size" if is_last else f"set batch_size={2 * parts} or more"
    return f"batch_size: {which} in {parts} parts leaves one of them a single image, {cannot}; {remedy}"


def _batches(length: int, drop_last: bool, options: RunOptions) -> Iterator[int]:
    """Yield the sizes of the batches of an epoch that the run uses, each once."""
    full, rest = divmod(length, options.batch_size)
    if full:
        yield options.batch_size
    number = full + 1  # of the last, smaller one
    is_cut = options.limit_train_batches is not None and options.limit_train_batches < number
    ends_before = options.max_steps is not None and options.max_steps * options.accumulate_steps < number
    if rest and not drop_last and not is_cut and not ends_before:
        yield rest


def _parts(batch: int, parts: int, are_ranks: bool) -> set[int]:
    """Return the sizes of a batch's parts: of ranks as the loader cuts it, of DataParallel devices as torch does."""
    if are_ranks:
        return {batch * (part + 1) // parts - batch * part // parts for part in range(parts)}
    step = math.ceil(batch / parts)
    return {min(step, batch - first) for first in range(0, batch, step)}


def _micro_batches(images: int, size: int | None) -> set[int]:
    """Return the sizes of the micro-batches that device.micro_batch makes of a number of images."""
    if size is None or not images:
        return {images}
    count = math.ceil(images / size)
    return {math.ceil(images / count), images // count}
