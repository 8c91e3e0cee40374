"""Optimizers by name, over groups of parameters chosen by pattern."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from expkit.config.registry import optimizers
from expkit.core.errors import ConfigError, nearest
from expkit.training.layer_groups import layers_of
from expkit.training.unfreezing import GradualUnfreezing

# torch's optimizers that step on dense gradients without a closure. Left out: LBFGS (needs a closure), SparseAdam
# (sparse gradients only), Muon (refuses biases and norms, so it cannot train a whole network by itself).
_WORDS = {
    "sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop", "adagrad": "Adagrad", "adadelta": "Adadelta",
    "adamax": "Adamax", "nadam": "NAdam", "radam": "RAdam", "rprop": "Rprop", "asgd": "ASGD", "adafactor": "Adafactor",
}  # fmt: skip
_WAYS = ("fused", "foreach", "differentiable")  # to compute an update
NORM_LAYERS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


@optimizers.share
@dataclass(frozen=True)
class OptimizerOptions:
    """Options of every optimizer.

    no_decay: patterns of parameter names without weight decay; the word `norm` means every one-dimensional parameter,
    `bias` every bias, `norm_layers` the parameters of normalisation layers alone. groups:
    [{pattern: 'features.*', lr: 0.0001}, ...], options of their own for parameters by name; the first pattern that
    matches counts; lr_scale multiplies the common lr.
    layer_decay: each layer's lr is that of the next one towards the head times this (0.65 to 0.9 for fine-tuning), null
    for the same in all. unfreeze_every: epochs after which one more layer is trained, from the head down, null for all
    from the start.
    """

    no_decay: list[str] = field(default_factory=list)
    groups: list[dict[str, Any]] = field(default_factory=list)
    layer_decay: float | None = None
    unfreeze_every: float | None = None

    def __post_init__(self) -> None:
        if self.layer_decay is not None and not 0 < self.layer_decay <= 1:
            raise ConfigError(f"optimizer.layer_decay: takes a number above 0 and up to 1, got {self.layer_decay}")
        if self.unfreeze_every is not None and self.unfreeze_every <= 0:
            raise ConfigError(f"optimizer.unfreeze_every: takes epochs above 0 or null, got {self.unfreeze_every}")


for _word, _class_name in _WORDS.items():
    _class = getattr(torch.optim, _class_name)
    optimizers.add(_word, _class, "torch", _class)


def unfreezing(node: Mapping[str, Any], model: nn.Module) -> GradualUnfreezing | None:
    """Return what frees the layers of a model one after the other, None where all are trained from the start."""
    options: OptimizerOptions = optimizers.shared(node)
    return GradualUnfreezing(model, options.unfreeze_every) if options.unfreeze_every is not None else None


def build_optimizer(node: Mapping[str, Any], model: nn.Module) -> torch.optim.Optimizer:
    """Build the optimizer of a checked node over the parameters that are not frozen. Raises ConfigError."""
    options: OptimizerOptions = optimizers.shared(node)
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not parameters:
        raise ConfigError("model.freeze: every parameter is frozen, so there is nothing to train; free some")
    grouped: dict[tuple[int, bool, float], list[nn.Parameter]] = {}
    scales, in_norms = _layer_scales(model, options.layer_decay), _in_norm_layers(model)
    for name, parameter in parameters.items():
        is_exempt = any(_exempt(word, name, parameter, in_norms) for word in options.no_decay)
        place = (_group_of(name, options), is_exempt, scales.get(name, 1.0))
        grouped.setdefault(place, []).append(parameter)
    _check_patterns(options, parameters)
    groups = [
        {"params": chosen} | _group_options(options, number, node, scale) | ({"weight_decay": 0.0} if exempt else {})
        for (number, exempt, scale), chosen in sorted(grouped.items(), key=lambda item: item[0])
    ]
    if node.get("fused") and node.get("foreach"):
        raise ConfigError("optimizer.foreach: is another way than optimizer.fused; take one of the two out")
    fused: dict[str, Any] = {"fused": True} if _can_be_fused(node, parameters) else {}
    optimizer: torch.optim.Optimizer = optimizers.build(node, params=groups, **fused)
    if isinstance(optimizer, torch.optim.SGD):
        optimizer.register_step_pre_hook(_complete_momentum)
    return optimizer


def _can_be_fused(node: Mapping[str, Any], parameters: Mapping[str, nn.Parameter]) -> bool:
    """Return whether one pass may update all weights, which torch does only if asked.

    What was chosen in the config stays: fused=false, or another way of the three.
    """
    if "fused" not in optimizers.options(node["name"]) or any(node.get(key) is not None for key in _WAYS):
        return False
    if node.get("dampening"):  # a momentum that begins later would not be zeros (_complete_momentum)
        return False
    return all(one.is_floating_point() and one.device.type in ("cpu", "cuda", "mps") for one in parameters.values())


def _complete_momentum(optimizer: torch.optim.Optimizer, *arguments: object) -> None:
    """Let weights that get their first gradient after others begin with a momentum of zeros, as SGD without it does.

    torch's fused SGD takes either all weights of a group with a momentum or none.
    """
    for group in optimizer.param_groups:
        if not group.get("fused") or not group["momentum"]:
            continue
        moved = [one for one in group["params"] if one.grad is not None]
        late = [one for one in moved if optimizer.state[one].get("momentum_buffer") is None]
        if len(late) < len(moved):
            for weight in late:
                optimizer.state[weight]["momentum_buffer"] = torch.zeros_like(weight)


def _group_of(name: str, options: OptimizerOptions) -> int:
    for number, group in enumerate(options.groups):
        if fnmatchcase(name, str(group.get("pattern", ""))):
            return number
    return len(options.groups)


def _exempt(word: str, name: str, parameter: nn.Parameter, in_norms: set[str]) -> bool:
    if word in ("norm", "norm_layers"):
        return parameter.ndim <= 1 if word == "norm" else name in in_norms
    return name.endswith(".bias") if word == "bias" else fnmatchcase(name, word)


def _in_norm_layers(model: nn.Module) -> set[str]:
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, NORM_LAYERS)}
    return {f"{name}.{own}" for name, layer in layers.items() for own, _ in layer.named_parameters(recurse=False)}


def _layer_scales(model: nn.Module, decay: float | None) -> dict[str, float]:
    """Return what each parameter's rate is multiplied by: 1 in the head, less by a factor with each layer below it.

    Layer-wise learning-rate decay (Clark et al. 2020, ELECTRA; Bao et al. 2021, BEiT).
    """
    layers = layers_of(model) if decay is not None else []
    return {name: (decay or 1.0) ** (len(layers) - 1 - depth) for depth, layer in enumerate(layers) for name in layer}


def _group_options(options: OptimizerOptions, number: int, node: Mapping[str, Any], scale: float) -> dict[str, Any]:
    common = node.get("lr", optimizers.options(node["name"])["lr"].default)
    if number == len(options.groups):
        return {"lr": common * scale} if scale != 1 else {}
    own = {key: value for key, value in options.groups[number].items() if key != "pattern"}
    if "lr_scale" in own:
        own["lr"] = own.pop("lr_scale") * common
    return own | ({"lr": own.get("lr", common) * scale} if scale != 1 else {})


def _check_patterns(options: OptimizerOptions, parameters: Mapping[str, nn.Parameter]) -> None:
    for number, group in enumerate(options.groups):
        path = f"optimizer.groups[{number}]"
        if not isinstance(group.get("pattern"), str):
            raise ConfigError(f"{path}: needs a `pattern` of parameter names, got {group}")
        wrong = sorted(key for key, value in group.items() if key != "pattern" and not isinstance(value, float | int))
        if wrong:
            raise ConfigError(f"{path}.{wrong[0]}: expected a number, got {group[wrong[0]]!r}")
        matches = any(fnmatchcase(name, group["pattern"]) for name in parameters)
        _check_matches(f"{path}.pattern", group["pattern"], matches, parameters)
    for word in options.no_decay:
        matches = word in ("norm", "norm_layers", "bias") or any(fnmatchcase(name, word) for name in parameters)
        _check_matches("optimizer.no_decay", word, matches, parameters)


def _check_matches(path: str, pattern: str, matches: bool, parameters: Mapping[str, nn.Parameter]) -> None:
    if not matches:
        hint = nearest(pattern, parameters) or f"; there is {', '.join(list(parameters)[:3])}, …"
        raise ConfigError(f"{path}: '{pattern}' matches no trained parameter{hint}")


def keep_layout(optimizer: torch.optim.Optimizer) -> None:
    """Give restored state the memory layout of its weight: fused updates walk through both as they lie in memory."""
    for weight, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == weight.shape:
                state[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)
