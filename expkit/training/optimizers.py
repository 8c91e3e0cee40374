"""Optimizers by word, over groups of parameters chosen by pattern."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from expkit.registry import ConfigError, nearest, optimizers

# torch's optimizers that step on dense gradients without a closure. Left out: LBFGS (needs a closure), SparseAdam
# (sparse gradients only), Muon (refuses biases and norms, so it cannot train a whole network by itself).
_WORDS = {
    "sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop", "adagrad": "Adagrad", "adadelta": "Adadelta",
    "adamax": "Adamax", "nadam": "NAdam", "radam": "RAdam", "rprop": "Rprop", "asgd": "ASGD", "adafactor": "Adafactor",
}  # fmt: skip


@optimizers.share
@dataclass(frozen=True)
class OptimizerOptions:
    """Options of every optimizer.

    no_decay: patterns of parameter names without weight decay; the word `norm` means every one-dimensional parameter,
    `bias` every bias. groups: [{pattern: 'features.*', lr: 0.0001}, ...], options of their own for parameters by
    name; the first pattern that matches counts; lr_scale multiplies the common lr.
    """

    no_decay: list[str] = field(default_factory=list)
    groups: list[dict[str, Any]] = field(default_factory=list)


for _word, _class_name in _WORDS.items():
    _class = getattr(torch.optim, _class_name)
    optimizers.add(_word, _class, "torch", _class)


def build_optimizer(node: Mapping[str, Any], model: nn.Module) -> torch.optim.Optimizer:
    """Build the optimizer of a checked node over the parameters that are not frozen. Raises ConfigError."""
    options: OptimizerOptions = optimizers.shared(node)
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not parameters:
        raise ConfigError("model.freeze: every parameter is frozen, so there is nothing to train; free some")
    grouped: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        place = (_group_of(name, options), any(_exempt(word, name, parameter) for word in options.no_decay))
        grouped.setdefault(place, []).append(parameter)
    _check_patterns(options, parameters)
    groups = [
        {"params": chosen} | _group_options(options, number, node) | ({"weight_decay": 0.0} if exempt else {})
        for (number, exempt), chosen in sorted(grouped.items(), key=lambda item: item[0])
    ]
    optimizer: torch.optim.Optimizer = optimizers.build(node, params=groups)
    return optimizer


def _group_of(name: str, options: OptimizerOptions) -> int:
    for number, group in enumerate(options.groups):
        if fnmatchcase(name, str(group.get("pattern", ""))):
            return number
    return len(options.groups)


def _exempt(word: str, name: str, parameter: nn.Parameter) -> bool:
    if word == "norm":
        return parameter.ndim <= 1
    return name.endswith(".bias") if word == "bias" else fnmatchcase(name, word)


def _group_options(options: OptimizerOptions, number: int, node: Mapping[str, Any]) -> dict[str, Any]:
    if number == len(options.groups):
        return {}
    own = {key: value for key, value in options.groups[number].items() if key != "pattern"}
    if "lr_scale" in own:
        own["lr"] = own.pop("lr_scale") * node.get("lr", optimizers.options(node["name"])["lr"].default)
    return own


def _check_patterns(options: OptimizerOptions, parameters: Mapping[str, nn.Parameter]) -> None:
    for number, group in enumerate(options.groups):
        path = f"optimizer.groups[{number}]"
        if not isinstance(group.get("pattern"), str):
            raise ConfigError(f"{path}: needs a `pattern` of parameter names, got {group}")
        wrong = sorted(key for key, value in group.items() if key != "pattern" and not isinstance(value, float | int))
        if wrong:
            raise ConfigError(f"{path}.{wrong[0]}: takes a number, got {group[wrong[0]]!r}")
        matches = any(fnmatchcase(name, group["pattern"]) for name in parameters)
        _check_matches(f"{path}.pattern", group["pattern"], matches, parameters)
    for word in options.no_decay:
        matches = word in ("norm", "bias") or any(fnmatchcase(name, word) for name in parameters)
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
