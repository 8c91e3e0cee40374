"""The network of a config without its pretrained weights, for whoever has weights at hand."""

from collections.abc import Mapping
from typing import Any

import torchvision.models as zoo

from expkit.models.weights import find_weights


def without_pretrained(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model node that builds the same layers from scratch: nothing is downloaded. Raises ConfigError.

    torchvision's builders change some options when weights are given (their `_ovewrite_named_param`): the image size
    of vision transformers, the input's scaling and the auxiliary heads of googlenet and inception_v3.
    """
    name, word = str(node["name"]), node.get("weights")
    if not word:
        return dict(node)
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
