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
from expkit.models.pretrained import find_weights, vet, weights_file, weights_words

# An architecture's options are the parameters of its class that have a default, as its builders hand their **kwargs
# on to it; what has none is structure, which the builder sets. The two tables are the exceptions, by how names begin.
# Builders have a default of their own for these, by model or by weights; null leaves it to them.
_LEFT_TO_BUILDER = {
    "convnext": {"stochastic_depth_prob"},
    "efficientnet": {"dropout"},
    "googlenet": {"aux_logits", "init_weights", "transform_input"},
    "inception": {"aux_logits", "init_weights", "transform_input"},
    "maxvit": {"input_size"},
    "vit": {"image_size"},
}
# Builders set these themselves, so that giving them again is an error.
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
    build.__annotations__ = {one.name: one.annotation for one in parameters}
    models.add(name, build, "torchvision")


def _parameters(name: str, model_class: type) -> list[inspect.Parameter]:
    left, taken = _options_in(_LEFT_TO_BUILDER, name), _options_in(_SET_BY_BUILDER, name)
    found = []
    for one in inspect.signature(model_class).parameters.values():
        if one.name in left:
            found.append(one.replace(annotation=one.annotation | None, default=None))
        elif one.default is not one.empty and one.name not in {*taken, "num_classes"}:
            found.append(one)
    if name.startswith("squeezenet"):
        found.append(inspect.Parameter("head_relu", inspect.Parameter.KEYWORD_ONLY, annotation=bool, default=True))
    words: Any = Literal
    weights = inspect.Parameter("weights", inspect.Parameter.KEYWORD_ONLY, default=None)
    given = weights.replace(name="num_classes", annotation=int, default=inspect.Parameter.empty)
    found = [given, weights.replace(annotation=words[weights_words(name)] | None), *found]
    return [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in found]


def _options_in(table: dict[str, set[str]], name: str) -> set[str]:
    return {option for beginning, options in table.items() if name.startswith(beginning) for option in options}


def _build(
    name: str, builder: Callable[..., nn.Module], *, num_classes: int, weights: str | None = None, **options: Any
) -> nn.Module:
    given = {option: value for option, value in options.items() if value is not None}
    if not given.pop("head_relu", True):
        return _without_head_relu(_build(name, builder, num_classes=num_classes, weights=weights, **given))
    if weights is not None:
        return _pretrained(name, builder, find_weights(name, weights), num_classes, given)
    if name in ("googlenet", "inception_v3"):
        given.setdefault("init_weights", True)  # what torchvision does too, and warns that it will not for ever
    try:
        return builder(weights=None, num_classes=num_classes, **given)
    except (AssertionError, RuntimeError, ArithmeticError, LookupError) as error:
        raise ValueError(str(error) or type(error).__name__) from error  # the registry says whose options these are


def _pretrained(
    name: str, builder: Callable[..., nn.Module], weights: WeightsEnum, num_classes: int, options: dict[str, Any]
) -> nn.Module:
    vet(weights)
    without_auxiliary = options.get("aux_logits") is False
    if without_auxiliary:
        del options["aux_logits"]  # the files hold auxiliary heads, so they are loaded first
    try:
        with warnings.catch_warnings():
            # The very heads that are replaced below are those that torchvision warns of.
            warnings.filterwarnings("ignore", "auxiliary heads in the pretrained googlenet", UserWarning)
            model = builder(weights=weights, progress=False, **options)
    except RuntimeError as error:
        reason = (str(error).splitlines()[1:2] or [str(error)])[0].strip().rstrip(". ")
        hint = "take back the options that change its layers" if options else f"remove {weights_file(weights)}"
        raise ConfigError(f"model.weights: {weights} does not fit {name}: {reason[:200]}; {hint}") from error
    if without_auxiliary:
        drop_auxiliary(model)
    replace_head(model, len(weights.meta["categories"]), num_classes)
    return model


def _without_head_relu(squeezenet: nn.Module) -> nn.Module:
    """Take away the ReLU behind SqueezeNet's last convolution; the names of its parameters stay the same.

    With a few classes it is soon zero for all of them on every image, and then no gradient comes through it any more.
    """
    squeezenet.set_submodule("classifier.2", nn.Identity())
    return squeezenet


for _name in zoo.list_models(module=zoo):
    _add(_name)
