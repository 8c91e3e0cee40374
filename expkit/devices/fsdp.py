"""A model of which each rank holds a share: weights, gradients and the optimizer's state, by torch's fully_shard.

What is saved and loaded is whole all the same: a checkpoint does not tell by how many ranks it was written, or how.
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
_FUSED = (torch.optim.Adam, torch.optim.AdamW)  # whose fused updates torch can compute with shares


def check_shardable(
    model: nn.Module, optimizer: torch.optim.Optimizer, layout: Layout, compiles: bool, fused: bool = False
) -> None:
    """Refuse what cannot go together with shares. fused: whether the config asks for fused updates.

    Raises ConfigError with all there is.
    """
    faults, other = [], "; device.strategy=ddp does it"
    if isinstance(optimizer, torch.optim.Adafactor):
        faults.append(f"optimizer.name: torch's Adafactor does not compute with shares of weights{other}")
    if fused and not isinstance(optimizer, _FUSED):
        kind = type(optimizer).__name__
        faults.append(
            f"optimizer.fused: torch's fused {kind} does not compute with shares of weights; set it to false, or"
            " device.strategy=ddp"
        )
    if not layout.sync_batchnorm and has_batch_norm(model):
        kept = "false leaves each rank its own statistics, which fsdp does not send to the others"
        faults.append(f"device.sync_batchnorm: {kept}; set it to true, or device.strategy=ddp")
    if compiles:
        faults.append(f"device.compile: does not go with device.strategy=fsdp; set it to false{other}")
    if layout.unused_parameters:
        faults.append("device.unused_parameters: is for device.strategy=ddp; fsdp needs no such word, set it to false")
    if faults:
        raise ConfigError(*faults)


def share_out(model: nn.Module, ranks: Ranks, kind: str) -> None:
    """Leave each rank its share of the model's weights, in place. kind: of the devices, cpu or cuda.

    The weights of a block are whole on each rank only while it is computed.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(kind, (ranks.size,))
    with torch.no_grad():
        for weight in model.parameters():  # images stay channels_last, and with them what convolutions compute
            weight.data = weight.data.contiguous()
    for block in _blocks(model):
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    model.register_state_dict_post_hook(lambda module, state, *more: _make_whole(state, ranks.is_first))  # type: ignore[no-untyped-call]
    model.register_load_state_dict_pre_hook(_take_shares)  # type: ignore[no-untyped-call]


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the outermost parts in a row of parts, such as residual or transformer blocks, that have weights."""
    for child in module.children():
        is_in_row = isinstance(module, _CONTAINERS) and not isinstance(child, _CONTAINERS)
        if is_in_row and any(weight.ndim > 1 for weight in child.parameters()):
            yield child
        else:
            yield from _blocks(child)


def shared_optimizer(
    optimizer: torch.optim.Optimizer, names: Mapping[int, str], model: nn.Module, ranks: Ranks
) -> torch.optim.Optimizer:
    """Return an optimizer like a fresh one, of the shares. names: of the whole weights that it had, by their id.

    Its updates are fused only where torch can compute them with shares.
    """
    weights = dict(model.named_parameters())
    groups = [
        group | _way(optimizer, group) | {"params": [weights[names[id(weight)]] for weight in group["params"]]}
        for group in optimizer.param_groups
    ]
    made: Any = type(optimizer)
    shared: torch.optim.Optimizer = made(groups)
    shared.register_state_dict_post_hook(lambda one, state: _whole_tree(state, ranks.is_first))
    shared.register_load_state_dict_pre_hook(_take_state)
    return shared


def _way(optimizer: torch.optim.Optimizer, group: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a group of weights is given in place of fused updates that shares do not have."""
    return {"fused": None} if group.get("fused") and not isinstance(optimizer, _FUSED) else {}


def _make_whole(state: dict[str, Any], keep: bool) -> None:
    for name, value in state.items():
        state[name] = _whole(value, keep)


def _whole(value: Any, keep: bool) -> Any:
    """Return a tensor in one piece, on the CPU; where it is not to be kept, one without content in its place.

    All ranks must ask.
    """
    if not hasattr(value, "full_tensor"):
        return value
    whole = value.full_tensor()
    return whole.cpu() if keep else torch.empty(value.shape, dtype=value.dtype, device="meta")


def _whole_tree(tree: Any, keep: bool) -> Any:
    if isinstance(tree, dict):
        return {name: _whole_tree(value, keep) for name, value in tree.items()}
    return _whole(tree, keep)


def _take_shares(module: nn.Module, state: dict[str, Any], prefix: str, *more: Any) -> None:
    """Turn whole weights that are to be loaded into shares of them."""
    for name, weight in module.named_parameters():
        if prefix + name in state:
            state[prefix + name] = _share_like(weight, state[prefix + name])


def _take_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """Return an optimizer's whole state as shares: what has the shape of a weight lies as the weight does."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    taken = {}
    for number, weight in zip(numbers, weights, strict=True):
        if number in state["state"]:
            own = state["state"][number]
            taken[number] = {name: _share_like(weight, value) for name, value in own.items()}
    groups = [group | _way(optimizer, group) for group in state["param_groups"]]  # they may be of one process
    return {**state, "state": taken, "param_groups": groups}


def _share_like(weight: Any, value: Any) -> Any:
    """Return this rank's share of a whole tensor, as it has one of a weight; what is no such thing stays as it is."""
    from torch.distributed.tensor import distribute_tensor

    fits = isinstance(value, Tensor) and value.shape == weight.shape and hasattr(weight, "full_tensor")
    if not fits or hasattr(value, "full_tensor"):
        return value
    # Each rank has read the whole: nothing need be sent.
    return distribute_tensor(value.contiguous(), weight.device_mesh, weight.placements, src_data_rank=None)
