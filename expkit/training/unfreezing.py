"""Gradual unfreezing: the head is trained first, and every few epochs one more layer below it."""

from torch import nn

from expkit.training.layer_groups import layers_of


class GradualUnfreezing:
    """Frees the layers of a model from its head down, one every `every` epochs (Howard & Ruder 2018, section 3.3).

    What is free depends on the epoch alone, so that a run may be resumed from any. Parameters that the config freezes
    for good stay frozen.
    """

    def __init__(self, model: nn.Module, every: float) -> None:
        self.every = every
        trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        layers = [[trained[name] for name in layer if name in trained] for layer in layers_of(model)]
        self.layers = [layer for layer in layers if layer]

    def free_layers(self, epoch: int) -> int:
        """Return how many layers are trained in an epoch (from 0): one at first."""
        return min(1 + int(epoch / self.every), len(self.layers))

    def before_epoch(self, epoch: int) -> None:
        """Free the layers that are trained in this epoch, and freeze the others."""
        frozen = len(self.layers) - self.free_layers(epoch)
        for number, layer in enumerate(self.layers):
            for parameter in layer:
                parameter.requires_grad_(number >= frozen)
