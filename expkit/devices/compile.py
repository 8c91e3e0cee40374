"""torch.compile, with a fallback to the plain model."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import nn

from expkit.core.errors import first_line

Mode = bool | Literal["reduce-overhead", "max-autotune"]


class Compiled:
    """A model's compiled forward pass; if compiling fails, the plain one from then on.

    report: called with the reason, in a sentence.
    """

    def __init__(self, model: nn.Module, mode: Mode, report: Callable[[str], object]) -> None:
        self.model, self.report = model, report
        self.works = False
        self.call: Callable[..., Any] = torch.compile(model, mode=None if mode is True else str(mode))

    def __call__(self, *arguments: Any) -> Any:
        if self.works:
            return self.call(*arguments)
        from torch._dynamo.exc import TorchDynamoException

        try:
            outputs = self.call(*arguments)
        except TorchDynamoException as error:  # raised for a model, or a machine, that torch cannot compile for
            self.report(f"warning: device.compile: {first_line(error)}; continues without compiling")
            self.call, outputs = self.model, self.model(*arguments)
        self.works = True
        return outputs
