"""A plugin for tests: a model that says that memory ran out when it is given too many images."""

import os
from typing import Any, Literal

import torch
from torch import Tensor, nn

from expkit.config.registry import models

ERRORS = {
    "python": MemoryError("no memory"),
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "cpu": RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"),
}


class _Backward(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, values: Tensor, model: "Hungry") -> Tensor:
        context.model = model
        return values.clone()

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        context.model.judge(len(gradients[0]))
        return gradients[0], None


class Hungry(nn.Module):
    """Fails in its forward pass, or in its backward pass when the gradients of its head are there already."""

    def __init__(self, num_classes: int, most: int, when: str, error: str, after: int, rank: str) -> None:
        super().__init__()
        self.first, self.head = nn.Conv2d(3, 8, 3, 2), nn.Linear(8, num_classes)
        self.norm = nn.GroupNorm(2, 8)
        self.most, self.when, self.error, self.after, self.rank, self.calls = most, when, error, after, rank, 0

    def forward(self, images: Tensor) -> Tensor:
        if self.training and torch.is_grad_enabled():
            self.calls += 1
            if self.when == "forward":
                self.judge(len(images))
        features = self.norm(self.first(images)).relu().mean((2, 3))
        return self.head(_Backward.apply(features, self) if self.when == "backward" else features)

    def judge(self, images: int) -> None:
        if images > self.most and self.calls > self.after and self.rank in ("", os.environ.get("RANK", "")):
            raise ERRORS[self.error]


@models.register("hungry")
def hungry(
    num_classes: int,
    most: int = 1000,
    when: Literal["forward", "backward"] = "forward",
    error: Literal["python", "cuda", "cpu"] = "python",
    after: int = 0,
    rank: str = "",
) -> nn.Module:
    """A small network that takes `most` images at once, from its call number `after` on, on the rank of that number."""
    return Hungry(num_classes, most, when, error, after, rank)
