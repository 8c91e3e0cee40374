"""One model on several devices: among the ranks of a run, or by one process."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from expkit.core.errors import ConfigError
from expkit.devices import Layout, Split
from expkit.devices.compile import Compiled
from expkit.devices.ddp import sync_batch_norm, wrap
from expkit.devices.fsdp import check_shardable, shard_model, shard_optimizer
from expkit.devices.model_parallel import place_layers
from expkit.devices.process_group import listen_on_loopback
from expkit.models import training_mode
from expkit.runs.components import build_average
from expkit.runs.setup import Setup
from expkit.training.micro_batches import MicroBatches, depends_on_micro_batches
from expkit.training.optimizers import build_optimizer
from expkit.training.train_state import RunLength
from expkit.training.weight_averaging import Average

Forward = Callable[..., Any]


@dataclass(frozen=True)
class DistributedModel:
    """A model on the run's devices, with its optimizer.

    model: has the weights. forward, inference: what a step of training and of evaluation calls. is_sharded: whether
    each rank has only a shard of the weights; unsharded: a copy with all, for an average to begin with.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    forward: Forward
    inference: Forward
    is_sharded: bool = False
    unsharded: nn.Module | None = None


def distribute(setup: Setup, report: Callable[[str], object]) -> DistributedModel:
    """Place the model on the run's devices and build its optimizer. report: gets warnings. Raises ConfigError."""
    model = setup.device.place(setup.basis.model)
    optimizer = build_optimizer(setup.config["optimizer"], model)
    if setup.ranks:
        placed = _among_ranks(setup, model, optimizer)
    else:
        forward = _on_several_devices(setup, model)
        placed = DistributedModel(model, optimizer, forward, forward)
    return _compiled(placed, setup, report)


def _among_ranks(setup: Setup, model: nn.Module, optimizer: torch.optim.Optimizer) -> DistributedModel:
    """Have the ranks train one model: gradients and batch normalisation are those of all of them."""
    device = setup.device
    if setup.config["optimizer"].get("unfreeze_every") is not None:
        raise ConfigError(
            "optimizer: gradual unfreezing changes which weights are trained, and ranks agree on them once;"
            " train on one device, or unfreeze nothing"
        )
    layout = setup.placement if isinstance(setup.placement, Layout) else Layout((device.torch_device,))
    if layout.sync_batchnorm:
        model = sync_batch_norm(model, device.torch_device)
    if layout.strategy == "fsdp":
        return _sharded(setup, model, optimizer, layout)
    # With micro_batch=auto the ranks add up their gradients themselves, before each update.
    forward = model if device.options.micro_batch == "auto" else wrap(model, layout, device.torch_device)
    return DistributedModel(model, optimizer, forward, model)


def _sharded(setup: Setup, model: nn.Module, optimizer: torch.optim.Optimizer, layout: Layout) -> DistributedModel:
    """Leave each rank its shard of the model's weights and of what the optimizer keeps. Raises ConfigError."""
    ranks, device, options = setup.ranks, setup.device, setup.options
    assert ranks is not None
    fused = bool(setup.config["optimizer"].get("fused"))
    check_shardable(model, optimizer, layout, bool(device.options.compile), fused)
    has_average = options.ema_decay is not None or options.swa_from is not None
    unsharded = copy.deepcopy(model) if has_average else None
    names = {id(weight): name for name, weight in model.named_parameters()}
    shard_model(model, ranks, device.torch_device.type)
    optimizer = shard_optimizer(optimizer, names, model, ranks)
    return DistributedModel(model, optimizer, model, model, is_sharded=True, unsharded=unsharded)


def _on_several_devices(setup: Setup, model: nn.Module) -> nn.Module:
    """Return what this process calls, on several devices if that is what the device's name means."""
    if isinstance(setup.placement, Split):
        place_layers(model, setup.placement)
    elif isinstance(setup.placement, Layout):
        listen_on_loopback()  # NCCL listens even for one process
        indices = [device.index for device in setup.placement.devices if device.type == "cuda"]
        return nn.DataParallel(model, indices or None)
    return model


def _compiled(placed: DistributedModel, setup: Setup, report: Callable[[str], object]) -> DistributedModel:
    """Compile the forward passes of training and evaluation, if the device's options ask for it."""
    if not (mode := setup.device.options.compile):
        return placed
    assert isinstance(placed.forward, nn.Module)
    forward = Compiled(placed.forward, mode, report)
    inference = forward if placed.forward is placed.model else Compiled(placed.model, mode, report)
    return replace(placed, forward=forward, inference=inference)


def build_micro_batches(setup: Setup, placed: DistributedModel, report: Callable[[str], object]) -> MicroBatches | None:
    """Build what cuts batches, if the device's options ask for it. Raises ConfigError."""
    if (asked := setup.device.options.micro_batch) is None:
        return None
    if asked == "auto":
        check_auto_micro_batches(placed.model, placed.is_sharded, setup.image_size)
    return MicroBatches(asked, setup.ranks, report)


def check_auto_micro_batches(model: nn.Module, is_sharded: bool, image_size: int) -> None:
    """Raise ConfigError where device.micro_batch=auto cannot be used, or would change the result."""
    number = "give a number, e.g. device.micro_batch=16, which the result then depends on"
    if is_sharded:
        raise ConfigError(f"device.micro_batch: auto does not go with device.strategy=fsdp; {number}")
    training_mode(model)
    if what := depends_on_micro_batches(model, image_size):
        raise ConfigError(
            f"device.micro_batch: auto would have the result depend on the memory that is free: {what} takes the images"
            f" that are computed at once together; {number}"
        )


def distribute_average(setup: Setup, placed: DistributedModel, length: RunLength, warmup_steps: int) -> Average | None:
    """Build the average of the weights that a run keeps; where ranks have shards of these, so have they of it."""
    average = build_average(placed.unsharded or placed.model, setup.options, length, warmup_steps)
    if average and placed.is_sharded:
        assert setup.ranks is not None
        shard_model(average.model, setup.ranks, setup.device.torch_device.type)
    return average
