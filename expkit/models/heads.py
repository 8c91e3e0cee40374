"""The head of a classifier: found in any architecture, and replaced for another number of classes."""

from typing import Any

from torch import nn

from expkit.core.errors import ConfigError

# The share of an auxiliary head's loss. GoogLeNet: Szegedy et al. 2014 (arXiv 1409.4842, section 5) weigh both by 0.3.
# Inception v3: 0.4, as in Google's reference training (TF-Slim) and PyTorch's fine-tuning tutorial.
_AUXILIARY_WEIGHTS = {"GoogLeNet": 0.3, "Inception3": 0.4}


def replace_head(model: nn.Module, old_classes: int, num_classes: int) -> list[str]:
    """Replace every layer with `old_classes` outputs by a fresh one with `num_classes`; returns their names.

    Auxiliary heads have as many outputs as the main one, so they are found in the same way. A fresh layer starts with
    weights of standard deviation 0.01 (as SqueezeNet, MobileNet and VGG have it) and zero biases in every family: the
    first logits are small, so the first steps do not tear what was pretrained. (Some families scale theirs for 1000
    outputs: with three, EfficientNet's rule would give weights of 0.58.) A head that has the right number of outputs
    already stays, as in timm and transformers, so that weights can be evaluated or tuned on their own classes. Raises
    ConfigError when there is no such layer.
    """
    heads = {name: layer for name, layer in model.named_modules() if outputs(layer) == old_classes}
    if not heads:
        raise ConfigError(f"model.weights: no layer with {old_classes} outputs was found, so no head can be replaced")
    if num_classes == old_classes:
        return []
    for name, layer in heads.items():
        model.set_submodule(name, _fresh(layer, num_classes))
    return list(heads)


def outputs(layer: nn.Module) -> int | None:
    """Return how many outputs a linear or convolutional layer has, None for another one."""
    if isinstance(layer, nn.Linear):
        return layer.out_features
    return layer.out_channels if isinstance(layer, nn.Conv2d) else None


def _fresh(layer: nn.Module, num_classes: int) -> nn.Linear | nn.Conv2d:
    fresh: nn.Linear | nn.Conv2d
    like: dict[str, Any] = {"bias": layer.bias is not None, "device": layer.weight.device, "dtype": layer.weight.dtype}
    if isinstance(layer, nn.Conv2d):
        words = ("kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
        fresh = nn.Conv2d(layer.in_channels, num_classes, **{word: getattr(layer, word) for word in words}, **like)
    else:
        assert isinstance(layer, nn.Linear)
        fresh = nn.Linear(layer.in_features, num_classes, **like)
    nn.init.normal_(fresh.weight, std=0.01)
    if fresh.bias is not None:
        nn.init.zeros_(fresh.bias)
    return fresh


def auxiliary_weight(model: nn.Module) -> float | None:
    """Return the share of the auxiliary heads' loss in training, or None for a model without them."""
    return _AUXILIARY_WEIGHTS.get(type(model).__name__) if getattr(model, "aux_logits", False) else None


def drop_auxiliary(model: nn.Module) -> None:
    """Take the auxiliary heads of inception_v3 or googlenet away, as torchvision's builders do."""
    model.aux_logits = False  # type: ignore[assignment]
    for name in ("AuxLogits", "aux1", "aux2"):
        if name in dict(model.named_children()):
            setattr(model, name, None)
