"""Averages of the weights over the steps, which often score better than the weights themselves."""

from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class ExponentialAverage:
    """The exponential moving average of a model's weights and buffers (Polyak & Juditsky 1992), by torch's own class.

    decay: the share of the old average that stays at each update; every: steps between updates. After n updates the
    share is at most (1 + n) / (10 + n), so that the random start is soon forgotten (the rule of TensorFlow and timm).
    """

    def __init__(self, model: nn.Module, decay: float, every: int = 1) -> None:
        self.decay, self.every, self.updates = decay, every, 0
        self.averaged = AveragedModel(model, use_buffers=True)
        self.averaged.requires_grad_(False)

    @property
    def model(self) -> nn.Module:
        """The averaged model, to evaluate and to keep."""
        return self.averaged.module

    def after_step(self, step: int, model: nn.Module) -> None:
        """Take the weights after update number `step` (from 1) into the average."""
        if step % self.every:
            return
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.averaged.multi_avg_fn = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self.averaged.update_parameters(model)
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.updates = state["updates"]
        with torch.no_grad():
            self.averaged.n_averaged.fill_(self.updates)  # torch's first update copies, later ones average
