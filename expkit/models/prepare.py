"""Options of every model: initialisation and frozen parameters."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

from torch import nn

from expkit.config.registry import models
from expkit.core.errors import ConfigError, nearest

Init = Literal["kaiming_normal", "kaiming_uniform", "xavier_normal", "xavier_uniform", "orthogonal", "trunc_normal"]


@models.share
@dataclass(frozen=True)
class ModelOptions:
    """Options of every model.

    freeze: name patterns of parameters that are not trained, e.g. ["features.*"]. init: a torch.nn.init method for the
    weights of all convolutions and linear layers but the last; null: the architecture's own initialisation.
    """

    freeze: list[str] = field(default_factory=list)
    init: Init | None = None


def prepare(model: nn.Module, options: ModelOptions, pretrained: bool) -> nn.Module:
    """Initialise and freeze a model by its options. Raises ConfigError."""
    if options.init:
        if pretrained:
            raise ConfigError("model.init: would overwrite the pretrained weights; set model.init=null")
        initialise(model, options.init)
    freeze(model, options.freeze)
    return model


def initialise(model: nn.Module, method: Init) -> None:
    """Initialise the weights of every convolution and linear layer but the last, and zero their biases.

    The last layer, the head, keeps its own initialisation: the others are scaled for the layers that follow them.
    trunc_normal uses a standard deviation of 0.02, as in vision transformers (torch's default is 1).
    """
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    draw: Any = getattr(nn.init, f"{method}_")
    more: dict[str, Any] = {"nonlinearity": "relu"} if method.startswith("kaiming") else {}
    if method == "trunc_normal":
        more = {"std": 0.02}
    for layer in layers[:-1]:
        draw(layer.weight, **more)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def freeze(model: nn.Module, patterns: Sequence[str]) -> None:
    """Freeze parameters by name pattern. Raises ConfigError for a pattern without a match."""
    names = [name for name, _ in model.named_parameters()]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            parts = [f"{name}.*" for name, _ in model.named_modules() if name]
            hint = nearest(pattern, [*parts, *names]) or f"; there is {', '.join(names[:3])}, …"
            raise ConfigError(f"model.freeze: '{pattern}' matches no parameter{hint}")
    for name, parameter in model.named_parameters():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            parameter.requires_grad_(False)


def training_mode(model: nn.Module) -> None:
    """Put a model into training mode, except for normalisation layers with only frozen parameters.

    These keep using their running statistics unchanged, so that a frozen part computes the same function. Dropout stays
    active. Call this instead of `model.train()`.
    """
    model.train()
    for module in model.modules():
        parameters = list(module.parameters(recurse=False))
        keeps_statistics = getattr(module, "running_mean", None) is not None
        if keeps_statistics and parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()
