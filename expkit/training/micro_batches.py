"""Micro-batches that fit into memory, whose gradients add up to those of the whole batch."""

import math
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from expkit.core.formatting import count_noun
from expkit.devices import Ranks
from expkit.devices.oom import may_be_out_of_memory, release_memory

Result = TypeVar("Result")


class MicroBatches:
    """Cuts each batch into micro-batches of at most `size` images.

    asked: a number, or "auto": micro-batches are halved whenever memory runs out, from the one on that did not fit, and
    stay so. Each rank has the same number of them. report: gets a sentence then.
    """

    def __init__(self, asked: int | Literal["auto"], ranks: Ranks | None, report: Callable[[str], object]) -> None:
        self.size = asked if isinstance(asked, int) else None
        self.is_auto = asked == "auto"
        self.ranks, self.report = ranks, report
        self._gradients: list[tuple[nn.Parameter, Tensor]] = []  # of the current micro-batch

    def describe(self) -> str:
        """Return what a run's heading says of it."""
        if self.is_auto:
            return ", halves batches when memory runs out"
        return f", up to {count_noun(self.size, 'image')} at once" if self.size else ""

    def run(
        self, compute: Callable[[Tensor, Tensor], Result], images: Tensor, targets: Tensor, total: int
    ) -> list[Result]:
        """Return what `compute` returns for each micro-batch; one that did not fit is computed again in smaller ones.

        total: images of all ranks' parts.
        """
        results: list[Result] = []
        left = math.ceil(total / self.ranks.size) if self.ranks else len(images)  # of ranks the most that one has
        while True:
            count = max(math.ceil(left / (self.size or left)), 1) if left else 1
            largest, own = math.ceil(left / count), math.ceil(len(images) / count)
            found = self._attempt(compute, images[:own], targets[:own], largest)
            if self._did_not_fit(not found):
                self._halve(largest)
                continue
            self._add_gradients()
            results += found
            left, images, targets = left - largest, images[own:], targets[own:]
            if left <= 0:
                return results

    def _attempt(
        self, compute: Callable[[Tensor, Tensor], Result], images: Tensor, targets: Tensor, largest: int
    ) -> list[Result]:
        """Return the result of a micro-batch; none where memory ran out and smaller ones may help."""
        try:
            return [compute(images, targets)]
        except Exception as error:
            if self.is_auto and largest > 1 and may_be_out_of_memory(error):
                return []
            raise

    def _did_not_fit(self, failed: bool) -> bool:
        """Return True if the micro-batch did not fit, on any of the ranks."""
        if not self.is_auto or self.ranks is None:
            return failed
        return bool(self.ranks.sum(torch.tensor(int(failed))))

    def _halve(self, largest: int) -> None:
        self._gradients = []  # it may have fitted here, and not on another rank
        release_memory()
        self.size = math.ceil(largest / 2)
        self.report(
            f"warning: memory ran out with {count_noun(largest, 'image')} at once: continues with up to {self.size}"
            f"{' on each rank' if self.ranks else ''}, and the same batches (device.micro_batch=auto)"
        )

    def backward(self, loss: Tensor, model: nn.Module) -> None:
        """Find the gradients of a micro-batch; they are added once it is known to have fitted, on all ranks."""
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        found = torch.autograd.grad(loss, weights, allow_unused=True)
        fresh = [_laid_out(new, weight) for new, weight in zip(found, weights, strict=True)]
        self._gradients = [(weight, new) for weight, new in zip(weights, fresh, strict=True) if new is not None]

    def _add_gradients(self) -> None:
        for weight, new in self._gradients:
            if weight.grad is None:
                weight.grad = new
            else:
                weight.grad.add_(new)
        self._gradients = []

    def all_reduce_gradients(self, model: nn.Module) -> None:
        """Add up the ranks' gradients before an update, where DDP cannot do so since a micro-batch may fail."""
        if not self.is_auto or self.ranks is None:
            return
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        sums: list[Any] = []
        for weight in weights:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
            sums.append(dist.all_reduce(weight.grad, async_op=True))
        for one in sums:
            one.wait()

    def state_dict(self) -> dict[str, Any]:
        return {"size": self.size}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.size = state["size"]


def _laid_out(gradient: Tensor | None, weight: Tensor) -> Tensor | None:
    """Return a gradient in its weight's memory layout: fused updates walk through both as they lie in memory."""
    if gradient is None or gradient.stride() == weight.stride():
        return gradient
    return torch.empty_like(weight).copy_(gradient)


def depends_on_micro_batches(model: nn.Module, image_size: int) -> str:
    """Return what in a model in training makes an image's output depend on which others are computed with it, or "".

    image_size: in pixels, of the images that it is tried on.
    """
    for name, layer in model.named_modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.training:
            return f"batch normalisation ('{name}')"
        if _draws(layer):
            return f"random draws ('{name}', {type(layer).__name__})"
    return "" if _is_same_in_micro_batches(model, image_size) else "the model"


def _draws(layer: nn.Module) -> bool:
    if not any(word in type(layer).__name__ for word in ("Drop", "StochasticDepth", "RReLU", "MultiheadAttention")):
        return False
    shares = [getattr(layer, name, 0) for name in ("p", "drop_prob", "dropout")]
    return isinstance(layer, nn.RReLU) or any(isinstance(share, float) and share > 0 for share in shares)


@torch.no_grad()
def _is_same_in_micro_batches(model: nn.Module, image_size: int) -> bool:
    """Try it: what layers do not tell, such as dropout in a forward function."""
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    device = next(model.parameters()).device
    images = torch.randn(4, 3, image_size, image_size, generator=torch.Generator().manual_seed(0)).to(device)

    def outputs(*micro_batches: Tensor) -> Tensor:
        torch.manual_seed(0)
        found = [model(images) for images in micro_batches]
        return torch.cat([one if isinstance(one, Tensor) else one[0] for one in found])

    whole, cut = outputs(images), outputs(images[:2], images[2:])
    for buffer, before in buffers:
        buffer.copy_(before)
    return torch.allclose(whole, cut, rtol=1e-3, atol=1e-5 * float(whole.abs().max()) + 1e-7)
