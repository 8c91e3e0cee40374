"""torch.compile, where it can; where it cannot, the plain model and the reason."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import nn

Mode = bool | Literal["reduce-overhead", "max-autotune"]


class Compiled:
    """A model's compiled forward pass, which becomes the plain one for good when compiling fails.

    tell: is given the reason then, in a sentence.
    """

    def __init__(self, model: nn.Module, mode: Mode, tell: Callable[[str], object]) -> None:
        self.model, self.tell = model, tell
        self.works = False
        self.call: Callable[..., Any] = torch.compile(model, mode=None if mode is True else str(mode))

    def __call__(self, *arguments: Any) -> Any:
        if self.works:
            return self.call(*arguments)
        from torch._dynamo.exc import TorchDynamoException

        try:
            done = self.call(*arguments)
        except TorchDynamoException as error:  # what it raises for a model, or a machine, that it cannot compile for
            lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
            self.tell(f"warning: device.compile: {lines[0]}; goes on without compiling")
            self.call, done = self.model, self.model(*arguments)
        self.works = True
        return done
