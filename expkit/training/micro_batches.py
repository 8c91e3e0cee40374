"""A batch in pieces that fit into memory, whose gradients add up to those of the batch in one."""

import math
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from expkit.core.formatting import count_noun
from expkit.devices import Ranks
from expkit.devices.device import MicroBatch
from expkit.devices.oom import give_back, may_be_out_of_memory


class MicroBatches:
    """Cuts a batch into pieces of at most `size` images; None: one piece.

    asked: a number, or "auto": pieces are halved whenever memory runs out, from the one on for which it did not do, and
    stay so. Ranks have each the same number of pieces. tell: is given a sentence then.
    """

    def __init__(self, asked: MicroBatch = None, ranks: Ranks | None = None) -> None:
        self.size = asked if isinstance(asked, int) else None
        self.is_auto = asked == "auto"
        self.ranks = ranks
        self.tell: Callable[[str], object] = lambda text: None
        self.results: list[Any] = []  # of the pieces of the batch at hand: what the caller adds for each
        self._gradients: list[tuple[nn.Parameter, Tensor]] = []  # of the piece at hand
        self._largest = 0  # images of the piece at hand; of ranks the most that one of them has
        self._failed = False

    def describe(self) -> str:
        """Return what a run's heading says of it."""
        if self.is_auto:
            return ", halves batches when memory runs out"
        return f", up to {count_noun(self.size, 'image')} at once" if self.size else ""

    def of(self, images: Tensor, targets: Tensor, total: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield a batch in pieces, one again in smaller ones if it did not fit. total: images of all ranks' parts."""
        self.results = []
        if self.size is None and not self.is_auto:
            yield images, targets
            return
        left = math.ceil(total / self.ranks.size) if self.ranks else len(images)
        while True:
            kept, self._gradients = len(self.results), []
            count = max(math.ceil(left / (self.size or left)), 1) if left else 1
            self._largest, own = math.ceil(left / count), math.ceil(len(images) / count)
            yield images[:own], targets[:own]
            if self._did_not_fit():
                del self.results[kept:]  # it fitted here, and not on another rank
                self._halve()
                continue
            self._add_gradients()
            left, images, targets = left - self._largest, images[own:], targets[own:]
            if left <= 0:
                return

    def outputs(self, forward: Callable[[Tensor], Any], images: Tensor, total: int = 0) -> Any:
        """Return the outputs of an evaluation for a batch, computed in pieces. total: images of all ranks' parts."""
        if self.size is None and not self.is_auto:
            return forward(images)
        for piece, _ in self.of(images, images, total):
            with self:
                self.results.append(forward(piece))
        return torch.cat(self.results)

    def __enter__(self) -> None:
        self._failed = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Let memory that ran out pass, where smaller pieces may help."""
        self._failed = self.is_auto and error is not None and may_be_out_of_memory(error) and self._largest > 1
        return self._failed

    def _did_not_fit(self) -> bool:
        """Say whether the piece did not fit, on any of the ranks."""
        if not self.is_auto or self.ranks is None:
            return self._failed
        return bool(self.ranks.sum(torch.tensor(int(self._failed))))

    def _halve(self) -> None:
        give_back()
        self.size = math.ceil(self._largest / 2)
        self.tell(
            f"warning: memory ran out with {count_noun(self._largest, 'image')} at once: continues with up to"
            f" {self.size}{' on each rank' if self.ranks else ''}, and the same batches (device.micro_batch=auto)"
        )

    def backward(self, loss: Tensor, model: nn.Module) -> None:
        """Find the gradients of a piece's loss; they are added once it is known that the piece fitted, on all ranks."""
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

    def meet(self, model: nn.Module) -> None:
        """Add up the ranks' gradients before an update, where they cannot do so on the way since a piece may fail."""
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


def depends_on_pieces(model: nn.Module, image_size: int) -> str:
    """Return what in a model in training makes an image's output depend on which others are computed with it, or "".

    image_size: in pixels, of the images that it is tried on.
    """
    for name, layer in model.named_modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.training:
            return f"batch normalisation ('{name}')"
        if _draws(layer):
            return f"random draws ('{name}', {type(layer).__name__})"
    return "" if _is_same_in_pieces(model, image_size) else "the model"


def _draws(layer: nn.Module) -> bool:
    if not any(word in type(layer).__name__ for word in ("Drop", "StochasticDepth", "RReLU", "MultiheadAttention")):
        return False
    shares = [getattr(layer, name, 0) for name in ("p", "drop_prob", "dropout")]
    return isinstance(layer, nn.RReLU) or any(isinstance(share, float) and share > 0 for share in shares)


@torch.no_grad()
def _is_same_in_pieces(model: nn.Module, image_size: int) -> bool:
    """Try it: what layers do not tell, such as dropout in a forward function."""
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    device = next(model.parameters()).device
    images = torch.randn(4, 3, image_size, image_size, generator=torch.Generator().manual_seed(0)).to(device)

    def outputs(*pieces: Tensor) -> Tensor:
        torch.manual_seed(0)
        found = [model(piece) for piece in pieces]
        return torch.cat([one if isinstance(one, Tensor) else one[0] for one in found])

    whole, cut = outputs(images), outputs(images[:2], images[2:])
    for buffer, before in buffers:
        buffer.copy_(before)
    return torch.allclose(whole, cut, rtol=1e-3, atol=1e-5 * float(whole.abs().max()) + 1e-7)
