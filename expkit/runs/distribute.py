"""Distribute a model over devices: among the ranks of a run, or in one process."""

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

    model: has the weights. forward, inference: the forward passes of training and evaluation. is_sharded: each rank has
    a shard of the weights; unsharded: a copy with all weights, to start an average from.
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
    """Return the model for DDP or FSDP. Raises ConfigError."""
    device = setup.device
    if setup.config["optimizer"].get("unfreeze_every") is not None:
        raise ConfigError(
            "optimizer: gradual unfreezing is not supported by several ranks; train on one device, or remove"
            " optimizer.unfreeze_every"
        )
    layout = setup.placement if isinstance(setup.placement, Layout) else Layout((device.torch_device,))
    if layout.sync_batchnorm:
        model = sync_batch_norm(model, device.torch_device)
    if layout.strategy == "fsdp":
        return _sharded(setup, model, optimizer, layout)
    # With micro_batch=auto the ranks sum their gradients themselves, before each update.
    forward = model if device.options.micro_batch == "auto" else wrap(model, layout, device.torch_device)
    return DistributedModel(model, optimizer, forward, model)


def _sharded(setup: Setup, model: nn.Module, optimizer: torch.optim.Optimizer, layout: Layout) -> DistributedModel:
    """Shard the weights and the optimizer's state over the ranks (FSDP). Raises ConfigError."""
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
    """Return the forward pass of a single process, on several devices if the config says so."""
    if isinstance(setup.placement, Split):
        place_layers(model, setup.placement)
    elif isinstance(setup.placement, Layout):
        listen_on_loopback()  # NCCL listens even for one process
        indices = [device.index for device in setup.placement.devices if device.type == "cuda"]
        return nn.DataParallel(model, indices or None)
    return model


def _compiled(placed: DistributedModel, setup: Setup, report: Callable[[str], object]) -> DistributedModel:
    """Compile the forward passes of training and evaluation if device.compile is set."""
    if not (mode := setup.device.options.compile):
        return placed
    assert isinstance(placed.forward, nn.Module)
    forward = Compiled(placed.forward, mode, report)
    inference = forward if placed.forward is placed.model else Compiled(placed.model, mode, report)
    return replace(placed, forward=forward, inference=inference)


def build_micro_batches(setup: Setup, placed: DistributedModel, report: Callable[[str], object]) -> MicroBatches | None:
    """Build the micro-batches if device.micro_batch is set. Raises ConfigError."""
    if (size := setup.device.options.micro_batch) is None:
        return None
    if size == "auto":
        check_auto_micro_batches(placed.model, placed.is_sharded, setup.image_size)
    return MicroBatches(size, setup.ranks, report)


def check_auto_micro_batches(model: nn.Module, is_sharded: bool, image_size: int) -> None:
    """Raise ConfigError if device.micro_batch=auto is not supported, or would change the result."""
    number = "set a number, e.g. device.micro_batch=16, which the result then depends on"
    if is_sharded:
        raise ConfigError(f"device.micro_batch: auto is not supported by device.strategy=fsdp; {number}")
    training_mode(model)
    if what := depends_on_micro_batches(model, image_size):
        raise ConfigError(
            f"device.micro_batch: with auto the result would depend on the free memory: {what} depends on the other"
            f" images of a micro-batch; {number}"
        )


def distribute_average(setup: Setup, placed: DistributedModel, length: RunLength, warmup_steps: int) -> Average | None:
    """Build the average of the weights, sharded like the model."""
    average = build_average(placed.unsharded or placed.model, setup.options, length, warmup_steps)
    if average and placed.is_sharded:
        assert setup.ranks is not None
        shard_model(average.model, setup.ranks, setup.device.torch_device.type)
    return average
