"""DistributedDataParallel: gradients averaged by torch, batch normalisation over the whole batch."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from expkit.devices.topology import Layout

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def wrap(model: nn.Module, layout: Layout, device: torch.device) -> nn.Module:
    """Return the DDP module for the training step; `model` keeps the weights, so its state has no prefixes."""
    from torch.nn.parallel import DistributedDataParallel  # imports torch._dynamo, which takes seconds

    ids = [device.index] if device.type == "cuda" else None
    # With synchronized batch normalisation the buffers are the same on all ranks: nothing needs to be sent.
    sync_buffers = has_batch_norm(model) and not layout.sync_batchnorm
    known = inspect.signature(DistributedDataParallel).parameters
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"  # until torch 2.14
    buffer_option: dict[str, Any] = {name: sync_buffers}
    return DistributedDataParallel(
        model,
        device_ids=ids,
        **buffer_option,
        find_unused_parameters=layout.unused_parameters,
        gradient_as_bucket_view=True,
    )


def has_batch_norm(model: nn.Module) -> bool:
    return any(isinstance(module, _NORMS) for module in model.modules())


def sync_batch_norm(model: nn.Module, device: torch.device) -> nn.Module:
    """Return the model with batch normalisation over the whole batch, keeping names and weights.

    torch's SyncBatchNorm works on GPUs only; on the CPU, sums are all-reduced with gradients.
    """
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-any-return,no-untyped-call]
    for module in model.modules():
        if isinstance(module, _NORMS):
            module.forward = _SyncForward(module)  # type: ignore[assignment,method-assign]
    return model


class _SyncForward:
    """Forward pass of batch normalisation with statistics over the parts of all ranks."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def __call__(self, values: Tensor) -> Tensor:
        module = self.module
        if not module.training:
            return type(module).forward(module, values)  # type: ignore[no-any-return]
        axes = [0, *range(2, values.ndim)]
        wide = values.float() if values.dtype.itemsize < 4 else values  # half-precision sums would be too coarse
        count = torch.full((1,), float(values.numel() // values.shape[1]), dtype=wide.dtype, device=values.device)
        sums = _sum(torch.cat([wide.sum(axes), count]))
        total = sums[-1].detach().clamp(min=1)
        mean = sums[:-1] / total
        shape = (1, -1, *[1] * (values.ndim - 2))
        centred = wide - mean.view(shape)
        variance = _sum(centred.square().sum(axes)) / total
        self._track(mean.detach(), variance.detach(), total)
        scaled = centred * torch.rsqrt(variance + module.eps).view(shape)
        if module.affine:
            scaled = scaled * module.weight.view(shape) + module.bias.view(shape)
        return scaled.to(values.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, total: Tensor) -> None:
        module = self.module
        if not module.track_running_stats:
            return
        module.num_batches_tracked.add_(1)
        share = 1 / float(module.num_batches_tracked) if module.momentum is None else module.momentum
        module.running_mean.lerp_(mean.to(module.running_mean.dtype), share)
        unbiased = variance * total / (total - 1).clamp(min=1)
        module.running_var.lerp_(unbiased.to(module.running_var.dtype), share)


class _Sum(torch.autograd.Function):
    """Sum over the ranks; its gradient is the sum of the gradients."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


_sum: Callable[[Tensor], Tensor] = _Sum.apply
