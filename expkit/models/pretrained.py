"""Pretrained weights: their words, what input they expect, and a file that is vetted before anything loads it."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision.models as zoo
from torchvision.models import WeightsEnum

from expkit.core.errors import ConfigError, nearest
from expkit.core.escaping import shortened
from expkit.core.pickles import pickle_problem, refusal_of


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
    if word and str(name).startswith("timm/"):
        return _timm_input(str(name).removeprefix("timm/"))
    if not word or name not in zoo.list_models(module=zoo):
        return None
    weights = find_weights(str(name), word)
    transforms = weights.transforms()
    sizes = int(transforms.crop_size[0]), int(transforms.resize_size[0])
    return InputSpec(*sizes, tuple(transforms.mean), tuple(transforms.std), str(weights))


def _timm_input(name: str) -> InputSpec | None:
    from timm.models import get_pretrained_cfg

    found = get_pretrained_cfg(name)
    if found is None or not found.has_weights:
        return None
    size = int(found.input_size[-1])
    return InputSpec(size, round(size / found.crop_pct), tuple(found.mean), tuple(found.std), f"timm {name}")


def weights_words(name: str) -> tuple[str, ...]:
    """Return DEFAULT and the names of a model's weights.

    Left out are those without a classifier (vgg16's IMAGENET1K_FEATURES), whose last layers hold no numbers.
    """
    members = zoo.get_model_weights(name)
    return ("DEFAULT", *(member.name for member in members if member.meta["categories"]))


def find_weights(name: str, word: str) -> WeightsEnum:
    """Return a model's weights by word (DEFAULT or a member's name). Raises ConfigError naming those there are."""
    words = weights_words(name)
    if word not in words:
        raise ConfigError(
            f"model.weights: {name} has no weights '{word}'{nearest(word, words)}; there is {', '.join(words)}"
        )
    return zoo.get_model_weights(name)[word]


def weights_file(weights: WeightsEnum) -> Path:
    """Return where torch keeps, or would keep, the file of some weights."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name


def vet(weights: WeightsEnum) -> None:
    """Make sure that the weights' file is there and holds nothing but tensors. Raises ConfigError.

    torchvision itself loads it without that check, and a pickle can execute code. A download is checked against the
    digest in its file's name; a file that lies there already is not, as everywhere in torch.
    """
    path = weights_file(weights)
    try:
        if path.is_file() and (problem := pickle_problem(path)):
            raise ValueError(problem)
        state = torch.hub.load_state_dict_from_url(weights.url, map_location="cpu", check_hash=True, weights_only=True)
    except Exception as error:  # there is no list of the ways in which a damaged file or a network can fail
        raise ConfigError(_unreadable(path, error) if path.exists() else _missing(weights, path, error)) from error
    if not isinstance(state, Mapping):
        raise ConfigError(f"model.weights: {path} holds a {type(state).__name__}, not a state dict; remove it")


def _missing(weights: WeightsEnum, path: Path, error: Exception) -> str:
    problem = f"{weights} could not be downloaded ({_first_line(error)})"
    return f"model.weights: {problem}; put the file at {path}, or set model.weights=null"


def _unreadable(path: Path, error: Exception) -> str:
    """Say what is wrong with a file, without torch's own advice to load it unsafely."""
    reason = refusal_of(error) if isinstance(error, pickle.UnpicklingError) else _first_line(error)
    return f"model.weights: {path} is damaged or is not a plain state dict: {reason}; remove it to download it again"


def _first_line(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return shortened(first.partition(" This is an internal miniz error")[0].rstrip("."))


def without_pretrained(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a model node that builds the same layers from scratch: nothing is downloaded. Raises ConfigError.

    torchvision's builders change some options when weights are given (their `_ovewrite_named_param`): the image size
    of vision transformers, the input's scaling and the auxiliary heads of googlenet and inception_v3.
    """
    name, word = str(node["name"]), node.get("weights")
    if not word:
        return node
    bare = {key: value for key, value in node.items() if key != "weights"}
    if name not in zoo.list_models(module=zoo):
        return bare
    size = find_weights(name, word).meta.get("min_size")
    implied: dict[str, Any] = {}
    if name.startswith("vit"):
        implied = {"image_size": size[0]}
    elif name.startswith("maxvit"):
        implied = {"input_size": list(size)}
    elif name in ("googlenet", "inception_v3"):
        implied = {"transform_input": True} | ({"aux_logits": False} if name == "googlenet" else {})
    return bare | {key: value for key, value in implied.items() if bare.get(key) is None}
