"""One model on several devices: among the ranks of a run, or by one process."""

import copy
from collections.abc import Mapping
from typing import Any

from torch import nn

from expkit.config.registry import datasets, devices
from expkit.core.errors import ConfigError
from expkit.devices import Layout, Split
from expkit.devices.compile import Compiled
from expkit.devices.ddp import synchronise_batch_norm, wrap
from expkit.devices.fsdp import check_shardable, share_out, shared_optimizer
from expkit.devices.model_parallel import spread as spread_layers
from expkit.devices.process_group import listen_on_loopback
from expkit.models import training_mode
from expkit.training.loss_share import LossShare
from expkit.training.micro_batches import MicroBatches, depends_on_pieces
from expkit.training.signals import AgreedInterruption
from expkit.training.step import Parts

Config = Mapping[str, Any]


def spread(parts: Parts, config: Config, image_size: int) -> None:
    """Have the run's devices do what the loop asks of one; a single one is left as it is. image_size: pixels."""
    if parts.ranks:
        may_lose = datasets.shared(config["dataset"]).on_bad == "skip"
        share_work(parts, config, may_lose, image_size)
    else:
        spread_model(parts, config["device"])
    add_pieces(parts, image_size)
    add_compiling(parts)


def share_work(parts: Parts, config: Config, may_lose: bool, image_size: int) -> None:
    """Have the ranks train one model: gradients, normalisation, losses and signals are those of all of them.

    may_lose: whether samples that cannot be read are left out; image_size: pixels.
    """
    ranks, device, found = parts.ranks, parts.device, devices.build(config["device"])
    assert ranks is not None
    if parts.unfreezing:
        raise ConfigError(
            "optimizer: gradual unfreezing changes which weights are trained, and ranks agree on them once;"
            " train on one device, or unfreeze nothing"
        )
    layout = found if isinstance(found, Layout) else Layout((device.torch_device,))
    if layout.sync_batchnorm:
        parts.model = synchronise_batch_norm(parts.model, device.torch_device)
    if layout.strategy == "fsdp":
        shard(parts, config, layout)
    elif device.options.micro_batch != "auto":  # then ranks add up their gradients themselves, before each update
        parts.forward = wrap(parts.model, layout, device.torch_device)
    parts.share = LossShare(ranks, parts.loss, may_lose, image_size)
    parts.interruption = AgreedInterruption(ranks)


def shard(parts: Parts, config: Config, layout: Layout) -> None:
    """Leave each rank its share of the model's weights and of what the optimizer keeps. Raises ConfigError."""
    assert parts.ranks is not None
    fused = bool(config["optimizer"].get("fused"))
    check_shardable(parts.model, parts.optimizer, layout, bool(parts.device.options.compile), fused)
    if config.get("ema_decay") is not None or config.get("swa_from") is not None:
        parts.unshared = copy.deepcopy(parts.model)
    names = {id(weight): name for name, weight in parts.model.named_parameters()}
    share_out(parts.model, parts.ranks, parts.device.torch_device.type)
    parts.optimizer = shared_optimizer(parts.optimizer, names, parts.model, parts.ranks)
    parts.forward, parts.is_shared_out = parts.model, True


def shard_average(parts: Parts) -> None:
    """Leave each rank its share of the averaged weights too, where it has one of the weights."""
    if parts.is_shared_out and parts.average:
        assert parts.ranks is not None
        share_out(parts.average.model, parts.ranks, parts.device.torch_device.type)
        parts.unshared = None


def add_pieces(parts: Parts, image_size: int) -> None:
    """Have the loop compute a batch in pieces, if the device's options ask for it. Raises ConfigError."""
    if (asked := parts.device.options.micro_batch) is None:
        return
    parts.pieces = MicroBatches(asked, parts.ranks)
    parts.pieces.tell = lambda text: parts.logger.message(text)
    if parts.share is None:
        parts.share = LossShare(None, parts.loss, False, image_size)
    if asked != "auto":
        return
    number = "give a number, e.g. device.micro_batch=16, which the result then depends on"
    if parts.is_shared_out:
        raise ConfigError(f"device.micro_batch: auto does not go with device.strategy=fsdp; {number}")
    training_mode(parts.model)
    if what := depends_on_pieces(parts.model, image_size):
        raise ConfigError(
            f"device.micro_batch: auto would have the result depend on the memory that is free: {what} takes the images"
            f" that are computed at once together; {number}"
        )


def spread_model(parts: Parts, node: Config) -> None:
    """Have one process use several devices, if that is what the device's word means."""
    found = devices.build(node)
    if isinstance(found, Split):
        spread_layers(parts.model, found)
    elif isinstance(found, Layout):
        listen_on_loopback()  # NCCL listens even for one process
        indices = [device.index for device in found.devices if device.type == "cuda"]
        parts.forward = parts.inference = nn.DataParallel(parts.model, indices or None)


def add_compiling(parts: Parts) -> None:
    """Compile the step's forward pass and that of evaluation, if the device's options ask for it."""
    if not (mode := parts.device.options.compile):
        return

    def tell(text: str) -> None:
        parts.logger.message(text)

    step = parts.forward
    assert isinstance(step, nn.Module)
    parts.forward = Compiled(step, mode, tell)
    parts.inference = parts.forward if step is parts.model else Compiled(parts.model, mode, tell)
