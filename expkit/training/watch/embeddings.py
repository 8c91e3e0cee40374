"""What the head sees: the features of the last but one layer, for a map of the samples."""

from typing import Any

import torch
from torch import Tensor, nn

from expkit.config.registry import watchers
from expkit.core.errors import ConfigError
from expkit.loggers.figures import Embedding
from expkit.training.watch.base import OF_CLASSES, Judged, Shown, Spread, Watcher, Where

_SPRITE = 32  # pixels, side of the small image of a sample


def head_of(model: nn.Module, num_classes: int) -> nn.Module | None:
    """Return the last layer with as many outputs as there are classes; auxiliary heads stand before it."""
    found = None
    for name, layer in model.named_modules():
        outputs = layer.out_features if isinstance(layer, nn.Linear) else getattr(layer, "out_channels", None)
        if outputs == num_classes and not name.lower().startswith("aux"):
            found = layer
    return found


class Embeddings(Watcher):
    """The features before the head of up to `count` validation samples."""

    kinds = OF_CLASSES

    def __init__(self, count: int) -> None:
        self.count = count
        self._handle: Any = None

    def before_evaluation(self) -> None:
        self._kept = Spread[tuple[Tensor, str, Tensor]](self.count)
        self._latest: Tensor | None = None
        self._leave()  # an evaluation that was broken off
        head = head_of(self.scene.model, len(self.scene.class_names))
        self._handle = head.register_forward_pre_hook(self._note) if head else None

    def _leave(self) -> None:
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def _note(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        features = inputs[0].detach()
        self._latest = features.mean((2, 3)) if features.ndim == 4 else features.flatten(1)

    def judge(self, judged: Judged) -> None:
        features = self._latest
        if features is not None:
            self._kept.add(judged.indices, lambda place: self._sample(features, judged, place))

    def _sample(self, features: Tensor, judged: Judged, place: int) -> tuple[Tensor, str, Tensor]:
        image = judged.images[place : place + 1].float()
        small = nn.functional.interpolate(image, size=(_SPRITE, _SPRITE), mode="area")[0]
        label = self.scene.label(judged.targets[place].cpu())
        return features[place].float().cpu(), label, self.scene.pixels(small)

    def evaluated(self, where: Where) -> Shown:
        self._leave()
        if not self._kept.kept:
            return ()
        vectors, labels, images = zip(*self._kept.kept, strict=True)
        pixels = torch.stack(images).permute(0, 2, 3, 1).contiguous().numpy()
        return [Embedding("val/embedding", where.epoch, where.step, torch.stack(vectors).numpy(), labels, pixels)]


@watchers.register("embeddings")
def embeddings(count: int = 500) -> Embeddings:
    """The features of the last but one layer, for TensorBoard's projector and the report's map.

    count: validation images, spread over the set.
    """
    if count < 3:
        raise ConfigError(f"watch.embeddings.count: expected an integer from 3 up, got {count}")
    return Embeddings(count)
