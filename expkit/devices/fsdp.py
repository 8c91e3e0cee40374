"""FSDP: weights, gradients and optimizer state sharded over the ranks by torch's fully_shard.

Checkpoints hold full tensors, independent of the number of ranks and of the strategy.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from expkit.core.errors import ConfigError
from expkit.devices.ddp import has_batch_norm
from expkit.devices.process_group import Ranks
from expkit.devices.topology import Layout

_CONTAINERS = (nn.Sequential, nn.ModuleList)
_FUSED = (torch.optim.Adam, torch.optim.AdamW)  # torch supports their fused updates on shards


def check_shardable(
    model: nn.Module, optimizer: torch.optim.Optimizer, layout: Layout, compiles: bool, fused: bool = False
) -> None:
    """Raise ConfigError for options that FSDP does not support. fused: whether the config sets fused updates."""
    faults, other = [], "; device.strategy=ddp does it"
    if isinstance(optimizer, torch.optim.Adafactor):
        faults.append(f"optimizer.name: torch's Adafactor does not support sharded weights{other}")
    if fused and not isinstance(optimizer, _FUSED):
        kind = type(optimizer).__name__
        problem = f"torch's fused {kind} does not support sharded weights"
        faults.append(f"optimizer.fused: {problem}; set it to false, or device.strategy=ddp")
    if not layout.sync_batchnorm and has_batch_norm(model):
        problem = "false leaves each rank its own statistics, which fsdp does not synchronise"
        faults.append(f"device.sync_batchnorm: {problem}; set it to true, or device.strategy=ddp")
    if compiles:
        faults.append(f"device.compile: is not supported by device.strategy=fsdp; set it to false{other}")
    if layout.unused_parameters:
        faults.append("device.unused_parameters: is for device.strategy=ddp; set it to false for fsdp")
    if faults:
        raise ConfigError(*faults)


def shard_model(model: nn.Module, ranks: Ranks, kind: str) -> None:
    """Shard the model's weights in place, block by block. kind: device type, cpu or cuda."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(kind, (ranks.size,))
    with torch.no_grad():
        for weight in model.parameters():  # images stay channels_last, and so do the convolutions
            weight.data = weight.data.contiguous()
    for block in _blocks(model):
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    model.register_state_dict_post_hook(lambda module, state, *more: _gather_state(state, ranks.is_first))  # type: ignore[no-untyped-call]
    model.register_load_state_dict_pre_hook(_shard_weights)  # type: ignore[no-untyped-call]


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the outermost blocks with weights in a sequence, such as residual or transformer blocks."""
    for child in module.children():
        is_in_row = isinstance(module, _CONTAINERS) and not isinstance(child, _CONTAINERS)
        if is_in_row and any(weight.ndim > 1 for weight in child.parameters()):
            yield child
        else:
            yield from _blocks(child)


def shard_optimizer(
    optimizer: torch.optim.Optimizer, names: Mapping[int, str], model: nn.Module, ranks: Ranks
) -> torch.optim.Optimizer:
    """Return the same optimizer for the sharded weights. names: of the full weights, by id."""
    weights = dict(model.named_parameters())
    groups = [
        group | _fused_option(optimizer, group) | {"params": [weights[names[id(weight)]] for weight in group["params"]]}
        for group in optimizer.param_groups
    ]
    optimizer_class: Any = type(optimizer)
    sharded: torch.optim.Optimizer = optimizer_class(groups)
    sharded.register_state_dict_post_hook(lambda optimizer, state: _full_tree(state, ranks.is_first))
    sharded.register_load_state_dict_pre_hook(_shard_state)
    return sharded


def _fused_option(optimizer: torch.optim.Optimizer, group: Mapping[str, Any]) -> dict[str, Any]:
    """Return the option that turns off fused updates where shards do not support them."""
    return {"fused": None} if group.get("fused") and not isinstance(optimizer, _FUSED) else {}


def _gather_state(state: dict[str, Any], keep: bool) -> None:
    for name, value in state.items():
        state[name] = _full(value, keep)


def _full(value: Any, keep: bool) -> Any:
    """Return the full tensor on the CPU, or an empty placeholder if `keep` is False.

    A collective operation: all ranks must call it.
    """
    if not hasattr(value, "full_tensor"):
        return value
    full = value.full_tensor()
    return full.cpu() if keep else torch.empty(value.shape, dtype=value.dtype, device="meta")


def _full_tree(tree: Any, keep: bool) -> Any:
    if isinstance(tree, dict):
        return {name: _full_tree(value, keep) for name, value in tree.items()}
    return _full(tree, keep)


def _shard_weights(module: nn.Module, state: dict[str, Any], prefix: str, *more: Any) -> None:
    """Shard the full weights of a state dict before it is loaded."""
    for name, weight in module.named_parameters():
        if prefix + name in state:
            state[prefix + name] = _shard_like(weight, state[prefix + name])


def _shard_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """Shard an optimizer's full state: tensors with the shape of a weight are sharded like it."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    sharded = {}
    for number, weight in zip(numbers, weights, strict=True):
        if number in state["state"]:
            values = state["state"][number]
            sharded[number] = {name: _shard_like(weight, value) for name, value in values.items()}
    # The state may come from a single process.
    groups = [group | _fused_option(optimizer, group) for group in state["param_groups"]]
    return {**state, "state": sharded, "param_groups": groups}


def _shard_like(weight: Any, value: Any) -> Any:
    """Return this rank's shard of a tensor with the shape of a weight, anything else unchanged."""
    from torch.distributed.tensor import distribute_tensor

    fits = isinstance(value, Tensor) and value.shape == weight.shape and hasattr(weight, "full_tensor")
    if not fits or hasattr(value, "full_tensor"):
        return value
    # Each rank has the full tensor: nothing needs to be sent.
    return distribute_tensor(value.contiguous(), weight.device_mesh, weight.placements, src_data_rank=None)
