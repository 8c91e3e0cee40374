"""Averages of the weights over the steps, which often score better than the weights themselves."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

Images = Callable[[], Iterable[Tensor]]  # one pass over an epoch's training images, as the model sees them


class Average(Protocol):
    """What the trainer asks of an average of the weights."""

    @property
    def model(self) -> nn.Module:
        """The averaged model, to evaluate and to keep."""

    def after_step(self, step: int, model: nn.Module) -> None:
        """Take the weights after update number `step` (from 1) into the average, if it is their turn."""

    def before_evaluation(self, images: Images) -> None:
        """Make the averaged model fit to be evaluated."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class _Averaged:
    """An average by torch's own class; updates: how many there were since it was a mere copy."""

    def __init__(self, model: nn.Module, use_buffers: bool) -> None:
        self.updates = 0
        self.averaged = AveragedModel(model, use_buffers=use_buffers)
        self.averaged.requires_grad_(False)

    @property
    def model(self) -> nn.Module:
        return self.averaged.module

    def before_evaluation(self, images: Images) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self._restart(state["updates"])

    def _take(self, model: nn.Module) -> None:
        self.averaged.update_parameters(model)
        self.updates += 1

    @torch.no_grad()
    def _restart(self, updates: int) -> None:
        self.updates = updates
        self.averaged.n_averaged.fill_(updates)  # torch's first update copies, later ones average

    def _decay(self, decay: float) -> None:
        blend = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self.averaged.multi_avg_fn = lambda old, new, count: blend(_own(old), _own(new), count)


def _own(values: Iterable[Any]) -> list[Tensor]:
    """Return what this process has of weights that are shared out among ranks; of others all."""
    return [value.to_local() if hasattr(value, "to_local") else value for value in values]


class ExponentialAverage(_Averaged):
    """The exponential moving average of a model's weights and buffers (Polyak & Juditsky 1992).

    decay: the share of the old average that stays at each update; every: steps between updates. After n updates the
    share is at most (1 + n) / (10 + n), so that the random start is soon forgotten (the rule of TensorFlow and timm).
    """

    def __init__(self, model: nn.Module, decay: float, every: int = 1) -> None:
        super().__init__(model, use_buffers=True)
        self.decay, self.every = decay, every

    def after_step(self, step: int, model: nn.Module) -> None:
        if step % self.every:
            return
        self._decay(min(self.decay, (1 + self.updates) / (10 + self.updates)))
        self._take(model)


class TorchvisionAverage(_Averaged):
    """The exponential moving average as torchvision's reference training script keeps it.

    decay: for a batch of one image and an epoch of training; the larger batches are, and the fewer the epochs, the
    less stays: 1 - (1 - decay) * batch_size * every / epochs (pycls, core/net.py). The first step of an epoch and each
    `every` further ones are taken; in the first `copied` epochs, those of the warm-up, the average is a mere copy.
    """

    def __init__(
        self, model: nn.Module, decay: float, every: int, batch_size: int, epochs: int, steps_per_epoch: int,
        copied: float,
    ) -> None:  # fmt: skip
        super().__init__(model, use_buffers=True)
        self.every, self.steps_per_epoch, self.copied = every, steps_per_epoch, copied
        self._decay(1 - min(1.0, (1 - decay) * batch_size * every / epochs))

    def after_step(self, step: int, model: nn.Module) -> None:
        epoch, within = divmod(step - 1, self.steps_per_epoch)
        if within % self.every:
            return
        self._take(model)
        if epoch < self.copied:
            self._restart(0)


class EqualAverage(_Averaged):
    """The equal average of the weights at the ends of the last epochs: stochastic weight averaging.

    Izmailov et al. 2018, arXiv 1803.05407. first: the update from which on ends of epochs count; before it the average
    is a copy of the newest. The statistics of batch normalisation are not averaged: a pass over the training images
    finds those of the averaged weights before they are evaluated.
    """

    def __init__(self, model: nn.Module, first: int, steps_per_epoch: int, last_step: int) -> None:
        super().__init__(model, use_buffers=False)
        self.first, self.steps_per_epoch, self.last_step = first, steps_per_epoch, last_step
        self._normalises = any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in model.modules())

    def after_step(self, step: int, model: nn.Module) -> None:
        if step % self.steps_per_epoch and step != self.last_step:
            return
        self._take(model)
        if step < self.first:
            self._restart(0)

    def before_evaluation(self, images: Images) -> None:
        if self.updates > 1 and self._normalises:
            update_bn(images(), self.model)
