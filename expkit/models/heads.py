"""Classifier heads: find them in any architecture and replace them for another number of classes."""

from typing import Any

from torch import nn

from expkit.core.errors import ConfigError

# The weight of an auxiliary head's loss. GoogLeNet: Szegedy et al. 2014 (arXiv 1409.4842, section 5) weigh both by 0.3.
# Inception v3: 0.4, as in Google's reference training (TF-Slim) and PyTorch's fine-tuning tutorial.
_AUXILIARY_WEIGHTS = {"GoogLeNet": 0.3, "Inception3": 0.4}


def replace_head(model: nn.Module, old_classes: int, num_classes: int) -> list[str]:
    """Replace every layer with `old_classes` outputs by a new one with `num_classes`; return their names.

    Auxiliary heads have as many outputs as the main one, so they are found in the same way. In every family, new layers
    start with weights of standard deviation 0.01 (as in SqueezeNet, MobileNet and VGG) and zero biases: small first
    logits, so that the first steps do not destroy the pretrained features. (Some families scale their initialisation
    for 1000 outputs: with three, EfficientNet's rule would give weights of 0.58.) A head with the right number of
    outputs is kept, as in timm and transformers, so that weights can be evaluated or fine-tuned on their own classes.
    Raises ConfigError if there is no such layer.
    """
    heads = {name: layer for name, layer in model.named_modules() if outputs(layer) == old_classes}
    if not heads:
        raise ConfigError(f"model.weights: no layer with {old_classes} outputs was found, so no head can be replaced")
    if num_classes == old_classes:
        return []
    for name, layer in heads.items():
        model.set_submodule(name, _new_layer(layer, num_classes))
    return list(heads)


def outputs(layer: nn.Module) -> int | None:
    """Return the number of outputs of a linear or convolutional layer, None for other layers."""
    if isinstance(layer, nn.Linear):
        return layer.out_features
    return layer.out_channels if isinstance(layer, nn.Conv2d) else None


def _new_layer(layer: nn.Module, num_classes: int) -> nn.Linear | nn.Conv2d:
    new: nn.Linear | nn.Conv2d
    like: dict[str, Any] = {"bias": layer.bias is not None, "device": layer.weight.device, "dtype": layer.weight.dtype}
    if isinstance(layer, nn.Conv2d):
        options = ("kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
        new = nn.Conv2d(
            layer.in_channels, num_classes, **{option: getattr(layer, option) for option in options}, **like
        )
    else:
        assert isinstance(layer, nn.Linear)
        new = nn.Linear(layer.in_features, num_classes, **like)
    nn.init.normal_(new.weight, std=0.01)
    if new.bias is not None:
        nn.init.zeros_(new.bias)
    return new


def auxiliary_weight(model: nn.Module) -> float | None:
    """Return the weight of the auxiliary heads' loss, None for a model without them."""
    return _AUXILIARY_WEIGHTS.get(type(model).__name__) if getattr(model, "aux_logits", False) else None


def drop_auxiliary(model: nn.Module) -> None:
    """Remove the auxiliary heads of inception_v3 or googlenet, as torchvision's builders do."""
    model.aux_logits = False  # type: ignore[assignment]
    for name in ("AuxLogits", "aux1", "aux2"):
        if name in dict(model.named_children()):
            setattr(model, name, None)
