"""torchvision's classification models by name, from scratch or pretrained, with the data's number of classes."""

import inspect
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torchvision.models as zoo
from torch import nn
from torchvision.models import WeightsEnum

from expkit.config.docstrings import first_sentence
from expkit.config.registry import models
from expkit.core.errors import ConfigError
from expkit.models.heads import drop_auxiliary, replace_head
from expkit.models.pretrained import check_weights_file, find_weights, weights_file, weights_names

# An architecture's options are the parameters of its class with a default: builders pass their **kwargs to it and set
# the parameters without one. The two tables list the exceptions, by prefix of the name.
# Builders have their own defaults for these, by model or by weights; null selects them.
_LEFT_TO_BUILDER = {
    "convnext": {"stochastic_depth_prob"},
    "efficientnet": {"dropout"},
    "googlenet": {"aux_logits", "init_weights", "transform_input"},
    "inception": {"aux_logits", "init_weights", "transform_input"},
    "maxvit": {"input_size"},
    "vit": {"image_size"},
}
# Builders set these themselves; passing them again is an error.
_SET_BY_BUILDER = {
    "densenet": {"growth_rate", "block_config", "num_init_features"},
    "efficientnet": {"last_channel"},
    "resnext": {"groups", "width_per_group"},
    "squeezenet": {"version"},
    "swin": {"stochastic_depth_prob"},
    "wide_resnet": {"width_per_group"},
}


def _add(name: str) -> None:
    builder = zoo.get_model_builder(name)
    parameters = _parameters(name, inspect.signature(builder).return_annotation)
    build: Any = partial(_build, name, builder)
    build.__doc__ = first_sentence(builder.__doc__ or name)
    build.__signature__ = inspect.Signature(parameters)
    build.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    models.add(name, build, "torchvision")


def _parameters(name: str, model_class: type) -> list[inspect.Parameter]:
    builder_defaults, set_by_builder = _options_in(_LEFT_TO_BUILDER, name), _options_in(_SET_BY_BUILDER, name)
    parameters = []
    for parameter in inspect.signature(model_class).parameters.values():
        if parameter.name in builder_defaults:
            parameters.append(parameter.replace(annotation=parameter.annotation | None, default=None))
        elif parameter.default is not parameter.empty and parameter.name not in {*set_by_builder, "num_classes"}:
            parameters.append(parameter)
    if name.startswith("squeezenet"):
        parameters.append(inspect.Parameter("head_relu", inspect.Parameter.KEYWORD_ONLY, annotation=bool, default=True))
    literal: Any = Literal
    weights = inspect.Parameter("weights", inspect.Parameter.KEYWORD_ONLY, default=None)
    given = weights.replace(name="num_classes", annotation=int, default=inspect.Parameter.empty)
    parameters = [given, weights.replace(annotation=literal[weights_names(name)] | None), *parameters]
    return [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]


def _options_in(table: dict[str, set[str]], name: str) -> set[str]:
    return {option for beginning, options in table.items() if name.startswith(beginning) for option in options}


def _build(
    name: str, builder: Callable[..., nn.Module], *, num_classes: int, weights: str | None = None, **options: Any
) -> nn.Module:
    given = {option: value for option, value in options.items() if value is not None}
    if not given.pop("head_relu", True):
        # With few classes the ReLU after SqueezeNet's last convolution soon gives only zeros, which stop all gradients.
        squeezenet = _build(name, builder, num_classes=num_classes, weights=weights, **given)
        squeezenet.set_submodule("classifier.2", nn.Identity())
        return squeezenet
    if weights is not None:
        return _pretrained(name, builder, find_weights(name, weights), num_classes, given)
    if name in ("googlenet", "inception_v3"):  # torchvision's default; passing it avoids a deprecation warning
        given.setdefault("init_weights", True)
    try:
        return builder(weights=None, num_classes=num_classes, **given)
    except (AssertionError, RuntimeError, ArithmeticError, LookupError) as error:
        raise ValueError(str(error) or type(error).__name__) from error  # the registry adds the name of the model


def _pretrained(
    name: str, builder: Callable[..., nn.Module], weights: WeightsEnum, num_classes: int, options: dict[str, Any]
) -> nn.Module:
    check_weights_file(weights)
    drops_auxiliary = options.get("aux_logits") is False
    if drops_auxiliary:
        del options["aux_logits"]  # the files contain auxiliary heads, so they must be loaded first
    try:
        with warnings.catch_warnings():
            # torchvision warns about the heads that are replaced below.
            warnings.filterwarnings("ignore", "auxiliary heads in the pretrained googlenet", UserWarning)
            model = builder(weights=weights, progress=False, **options)
    except RuntimeError as error:
        reason = (str(error).splitlines()[1:2] or [str(error)])[0].strip().rstrip(". ")
        hint = "remove the options that change its layers" if options else f"remove {weights_file(weights)}"
        raise ConfigError(f"model.weights: {weights} does not fit {name}: {reason[:200]}; {hint}") from error
    if drops_auxiliary:
        drop_auxiliary(model)
    replace_head(model, len(weights.meta["categories"]), num_classes)
    return model


for _name in zoo.list_models(module=zoo):
    _add(_name)
