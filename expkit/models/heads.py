"""The head of a classifier: found in any architecture, and replaced for another number of classes."""

from torch import nn

from expkit.registry import ConfigError

# The share of an auxiliary head's loss: Szegedy et al. 2014 (GoogLeNet, section 5) use 0.3; torchvision's and
# Inception v3's reference training use 0.4.
_AUXILIARY_WEIGHTS = {"GoogLeNet": 0.3, "Inception3": 0.4}


def replace_head(model: nn.Module, old_classes: int, num_classes: int) -> list[str]:
    """Replace every layer with `old_classes` outputs by a fresh one with `num_classes`; returns their names.

    Auxiliary heads have as many outputs as the main one, so they are found in the same way. A fresh layer starts with
    weights of standard deviation 0.01 (as SqueezeNet, MobileNet and VGG have it) and zero biases. Raises ConfigError
    when no such layer is there.
    """
    heads = {name: layer for name, layer in model.named_modules() if _outputs(layer) == old_classes}
    if not heads:
        raise ConfigError(f"model.weights: no layer with {old_classes} outputs was found, so no head can be replaced")
    for name, layer in heads.items():
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, _fresh(layer, num_classes))
    return list(heads)


def _outputs(layer: nn.Module) -> int | None:
    if isinstance(layer, nn.Linear):
        return layer.out_features
    return layer.out_channels if isinstance(layer, nn.Conv2d) else None


def _fresh(layer: nn.Module, num_classes: int) -> nn.Module:
    fresh: nn.Linear | nn.Conv2d
    if isinstance(layer, nn.Linear):
        fresh = nn.Linear(layer.in_features, num_classes, bias=layer.bias is not None)
    else:
        assert isinstance(layer, nn.Conv2d)
        fresh = nn.Conv2d(layer.in_channels, num_classes, layer.kernel_size, layer.stride, layer.padding)  # type: ignore[arg-type]
    nn.init.normal_(fresh.weight, std=0.01)
    if fresh.bias is not None:
        nn.init.zeros_(fresh.bias)
    return fresh


def auxiliary_weight(model: nn.Module) -> float | None:
    """Return the share of the auxiliary heads' loss in training, or None for a model without them."""
    if getattr(model, "aux_logits", False):
        return _AUXILIARY_WEIGHTS.get(type(model).__name__)
    return None
