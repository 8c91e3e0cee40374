"""torchvision's classification models by name, from scratch or pretrained, with the data's number of classes."""

import inspect
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
import torchvision.models as zoo
from torch import nn
from torchvision.models import WeightsEnum

from expkit.models.heads import replace_head
from expkit.registry import ConfigError, models, nearest


@dataclass(frozen=True)
class InputSpec:
    """What pretrained weights expect: sizes in pixels, mean and std of images scaled to 0..1, and whose they are."""

    image_size: int
    resize_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str


def pretrained_input(node: Mapping[str, Any]) -> InputSpec | None:
    """Return what the weights of a model node expect, None from scratch; nothing is downloaded. Raises ConfigError."""
    name, word = node.get("name"), node.get("weights")
    if not word or name not in zoo.list_models(module=zoo):
        return None
    weights = find_weights(str(name), word)
    transforms = weights.transforms()
    sizes = int(transforms.crop_size[0]), int(transforms.resize_size[0])
    return InputSpec(*sizes, tuple(transforms.mean), tuple(transforms.std), str(weights))


def find_weights(name: str, word: str) -> WeightsEnum:
    """Return a model's weights by word (DEFAULT or a member's name). Raises ConfigError naming those there are."""
    members = zoo.get_model_weights(name)
    words = ["DEFAULT", *(member.name for member in members)]
    if word not in words:
        raise ConfigError(
            f"model.weights: {name} has no weights '{word}'{nearest(word, words)}; there is {', '.join(words)}"
        )
    return members[word]


def weights_file(weights: WeightsEnum) -> Path:
    """Return where torch keeps, or would keep, the file of some weights."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name


def vet(weights: WeightsEnum) -> None:
    """Make sure that the weights' file is there and holds nothing but tensors. Raises ConfigError.

    torchvision itself loads it without that check, and a pickle can execute code.
    """
    path = weights_file(weights)
    try:
        torch.hub.load_state_dict_from_url(weights.url, map_location="cpu", check_hash=True, weights_only=True)
    except (URLError, ConnectionError, TimeoutError) as error:
        problem = f"{weights} could not be downloaded ({error})"
        raise ConfigError(f"model.weights: {problem}; put the file at {path}, or set model.weights=null") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"model.weights: {path} is damaged or is not a plain state dict: {reason}; remove it"
        ) from error


def _factory(name: str, builder: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    fixed: dict[str, Any] = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}

    def build(num_classes: int, weights: str | None = None, **options: Any) -> nn.Module:
        if weights is None:
            return builder(weights=None, num_classes=num_classes, **fixed | options)
        chosen = find_weights(name, weights)
        vet(chosen)
        model = builder(weights=chosen, progress=False, **options)
        replace_head(model, len(chosen.meta["categories"]), num_classes)
        return model

    build.__doc__ = f"{name} of torchvision, from scratch or pretrained (weights: DEFAULT)."
    return build


def _add_all() -> None:
    for name in zoo.list_models(module=zoo):
        builder = zoo.get_model_builder(name)
        model_class = inspect.signature(builder).return_annotation
        # The builder's **kwargs go to its class: its parameters with defaults are options too.
        models.add(
            name, _factory(name, builder), "torchvision", _options_of_class(model_class), _structure_free(builder)
        )


def _options_of_class(model_class: type) -> Callable[..., Any]:
    """Return a callable whose signature is the class's options alone: what has a default."""
    return _with_parameters(
        [one for one in inspect.signature(model_class).parameters.values() if one.default is not one.empty], model_class
    )


def _structure_free(builder: Callable[..., Any]) -> Callable[..., Any]:
    own = [one for one in inspect.signature(builder).parameters.values() if one.name not in ("weights", "progress")]
    return _with_parameters([one for one in own if one.kind is not one.VAR_KEYWORD], builder)


def _with_parameters(parameters: list[inspect.Parameter], source: Any) -> Callable[..., Any]:
    def signature() -> None: ...

    keyword = [one.replace(kind=one.KEYWORD_ONLY) for one in parameters]
    signature.__signature__ = inspect.Signature(keyword)  # type: ignore[attr-defined]
    initializer = source.__init__ if inspect.isclass(source) else source
    signature.__annotations__ = {one.name: initializer.__annotations__.get(one.name, Any) for one in parameters}
    return signature


_add_all()
