"""Pretrained weights: names, expected input, and a check of the file before it is loaded."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision.models as zoo
from torch import nn
from torchvision.models import WeightsEnum

from expkit.config.registry import models
from expkit.core.errors import ConfigError, first_line, nearest
from expkit.core.escaping import shortened
from expkit.core.pickles import pickle_problem, refusal_of


@dataclass(frozen=True)
class InputSpec:
    """The input that pretrained weights expect: sizes in pixels, mean and std for images in 0..1; and their name."""

    image_size: int
    resize_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str


def pretrained_input(node: Mapping[str, Any]) -> InputSpec | None:
    """Return the expected input of a model node's weights, None without weights. Raises ConfigError."""
    name, requested = node.get("name"), node.get("weights")
    if requested and str(name).startswith("timm/"):
        return _timm_input(str(name).removeprefix("timm/"))
    if not requested or name not in zoo.list_models(module=zoo):
        return None
    weights = find_weights(str(name), requested)
    transforms = weights.transforms()
    sizes = int(transforms.crop_size[0]), int(transforms.resize_size[0])
    return InputSpec(*sizes, tuple(transforms.mean), tuple(transforms.std), str(weights))


def _timm_input(name: str) -> InputSpec | None:
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        return None
    size = int(config.input_size[-1])
    return InputSpec(size, round(size / config.crop_pct), tuple(config.mean), tuple(config.std), f"timm {name}")


def weights_names(name: str) -> tuple[str, ...]:
    """Return DEFAULT and the names of a model's weights.

    Weights without a classifier are left out (vgg16's IMAGENET1K_FEATURES).
    """
    members = zoo.get_model_weights(name)
    return ("DEFAULT", *(member.name for member in members if member.meta["categories"]))


def find_weights(name: str, requested: str) -> WeightsEnum:
    """Return a model's weights by name (DEFAULT or a member). Raises ConfigError with the known names."""
    known = weights_names(name)
    if requested not in known:
        raise ConfigError(
            f"model.weights: {name} has no weights '{requested}'{nearest(requested, known)};"
            f" there is {', '.join(known)}"
        )
    return zoo.get_model_weights(name)[requested]


def weights_file(weights: WeightsEnum) -> Path:
    """Return the path of the weights in torch's cache."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name


def check_weights_file(weights: WeightsEnum) -> None:
    """Download the weights if needed, and check that the file holds only tensors. Raises ConfigError.

    torchvision loads it without this check, and a pickle can execute code. A download is checked against the digest in
    its file name; an existing file is not, as everywhere in torch.
    """
    path = weights_file(weights)
    try:
        if path.is_file() and (problem := pickle_problem(path)):
            raise ValueError(problem)
        state = torch.hub.load_state_dict_from_url(weights.url, map_location="cpu", check_hash=True, weights_only=True)
    except Exception as error:  # damaged files and networks fail in many ways
        problem = (
            f"{weights} could not be downloaded ({_reason(error)}); put the file at {path}, or set model.weights=null"
        )
        if path.exists():
            reason = (
                refusal_of(error) if isinstance(error, pickle.UnpicklingError) else _reason(error)
            )  # not torch's advice
            problem = f"{path} is damaged or is not a plain state dict: {reason}; remove it to download it again"
        raise ConfigError(f"model.weights: {problem}") from error
    if not isinstance(state, Mapping):
        raise ConfigError(f"model.weights: {path} holds a {type(state).__name__}, not a state dict; remove it")


def _reason(error: Exception) -> str:
    return shortened(first_line(error).partition(" This is an internal miniz error")[0].rstrip("."))


def build_untrained(node: Mapping[str, Any], num_classes: int) -> nn.Module:
    """Build a node's network with fresh weights, without drawing from the default generator."""
    with torch.random.fork_rng(devices=[]):
        return models.build(without_pretrained(node), num_classes=num_classes)  # type: ignore[no-any-return]


def without_pretrained(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a model node that builds the same layers from scratch: nothing is downloaded. Raises ConfigError.

    torchvision's builders override some options when weights are given (see their `_ovewrite_named_param`): the image
    size of vision transformers, the input scaling and the auxiliary heads of googlenet and inception_v3.
    """
    name, requested = str(node["name"]), node.get("weights")
    if not requested:
        return node
    untrained = {key: value for key, value in node.items() if key != "weights"}
    if name not in zoo.list_models(module=zoo):
        return untrained
    size = find_weights(name, requested).meta.get("min_size")
    implied: dict[str, Any] = {}
    if name.startswith("vit"):
        implied = {"image_size": size[0]}
    elif name.startswith("maxvit"):
        implied = {"input_size": list(size)}
    elif name in ("googlenet", "inception_v3"):
        implied = {"transform_input": True} | ({"aux_logits": False} if name == "googlenet" else {})
    return untrained | {key: value for key, value in implied.items() if untrained.get(key) is None}
