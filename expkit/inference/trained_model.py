"""Load a trained model, with its transforms and classes, from its checkpoint alone."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn

from expkit.checkpoints.reader import weights_of
from expkit.config.registry import devices, models
from expkit.core.errors import ConfigError
from expkit.core.formatting import count_noun
from expkit.data import deep
from expkit.data import transforms as pixels
from expkit.data.decode import Decoder
from expkit.data.labels import unique_names
from expkit.devices import Device
from expkit.devices.device import DeviceOptions
from expkit.inference.locate import Which, read_trained
from expkit.inference.pictures import Picture, pictures
from expkit.inference.tta import Views, averaged
from expkit.models.planned import planned_numbers
from expkit.models.pretrained import build_untrained
from expkit.tasks.class_metrics import probabilities_of

Config = dict[str, Any]

_TASKS = ("single_label", "multilabel")
_NEEDED = ("class_names", "task", "config", "transforms")
_SPARE = 1_000_000  # numbers that a model may have beyond twice those of its checkpoint


@dataclass(repr=False)
class Trained:
    """A trained model that is ready to be applied.

    model: from normalised (N, 3, H, W) float32 images on the device to (N, C) logits. classes: C names. task:
    "single_label" or "multilabel". chain: the evaluation transforms on (3, H, W) uint8; normalize: from a batch of
    uint8 to the model's input. config: the run's, with every `auto` of its transforms resolved. path, scores: of the
    checkpoint. notes: sentences for the user.
    """

    model: nn.Module
    classes: tuple[str, ...]
    task: str
    chain: pixels.Chain
    normalize: pixels.Normalize
    device: Device
    config: Config
    path: Path
    scores: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        name, known = self.config["model"]["name"], ", ".join(self.classes[:6]) + ", …" * (len(self.classes) > 6)
        known = f"{count_noun(len(self.classes), 'class')}: {known}"
        return f"Trained({name}, {known}; on {self.device.torch_device}; {self.path})"

    def seen(self, image: Picture) -> Tensor:
        """Return an image after the evaluation transforms, (3, h, w) uint8. Raises ConfigError, BadImage.

        image: one image of any kind that `predict` accepts.
        """
        found = list(islice(self._seen(image, "the image"), 2))
        if len(found) != 1:
            raise ConfigError(
                f"the image: expected one image, got {'several' if found else 'none'}; predict takes many"
            )
        return found[0]

    def _seen(self, images: Picture | Iterable[Picture], where: str = "images") -> Iterator[Tensor]:
        for image, name in pictures(images, self.decoder, where):
            yield self.chain.apply_to_sample(image, lambda name=name: name)  # type: ignore[misc]

    @property
    def decoder(self) -> Decoder:
        """The decoder of images: more than 8 bits are scaled by the range of the training images."""
        return Decoder(deep_range=deep.checked_range(self.config["dataset"]["deep_range"]))

    def transforms(self, image: Picture) -> Tensor:
        """Return the model's input for an image as `seen` takes it, (3, h, w) float32 on the CPU, normalised."""
        batch = self.device.images(self.seen(image)[None])
        return self.normalize(batch)[0].cpu()  # type: ignore[no-any-return]

    @torch.inference_mode()
    def probabilities(self, images: Tensor, views: Views = "none") -> Tensor:
        """Return (N, C) float32 probabilities on the CPU of (N, 3, h, w) uint8 images from `seen`.

        They add up to 1 for single_label; for multilabel each is independent. views: test-time augmentation.
        """

        def predict(images: Tensor) -> Tensor:
            return probabilities_of(self.logits(images), self.task)

        return averaged(predict, self.device.images(images), views).cpu()

    def logits(self, images: Tensor) -> Tensor:
        """Return (N, C) float32 logits, on the device, of (N, 3, h, w) uint8 images on the device."""
        with self.device.autocast():
            logits: Tensor = self.model(self.normalize(images))
        return logits.float()

    def predict(self, images: Picture | Iterable[Picture], views: Views = "none") -> list[dict[str, float]]:
        """Return for each image its probabilities by class, the most probable first; a list of one for one image.

        images: one or many of: a path, a Pillow image, a NumPy array or a tensor, (H, W), (H, W, C) or (C, H, W), or a
        batch of them; uint8 from 0 to 255, uint16, or floats from 0 to 1. Grey becomes three channels, transparency is
        dropped. views: none, flip or five_crop, test-time augmentation. Raises ConfigError for what is not an image,
        BadImage for a file that cannot be read. For more than a few files `python -m expkit predict` is faster: it
        reads them with worker processes.
        """
        if views not in get_args(Views):
            raise ConfigError(f"views: expected one of {', '.join(get_args(Views))}, got {views!r}")
        found = []
        for image in self._seen(images):
            values = self.probabilities(image[None], views)[0]
            order = values.argsort(descending=True, stable=True).tolist()
            found.append({self.classes[place]: float(values[place]) for place in order})
        return found


def load_trained(
    place: str | Path, which: Which = "best", device: str = "auto", precision: str | None = None
) -> Trained:
    """Return the trained model of a checkpoint or a run folder. Raises ConfigError.

    which: "best", or "last" ("newest" is the same), of a run's checkpoints. device: auto, cpu or gpu. precision: fp32,
    tf32 or bf16, None for the run's. Nothing in a checkpoint is executed: its config is checked against the same closed
    registry as a typed one, and its tensors are plain numbers.
    """
    found = read_trained(Path(place), which)
    config = _checked(found.facts, found.path)
    target = _device(config.get("device", {}), device, precision)
    facts, classes = found.facts, unique_names(found.facts["class_names"])
    transforms = config["transforms"]
    normalize = pixels.Normalize(*(tuple(transforms["normalize"][name]) for name in ("mean", "std")))
    return Trained(
        model=target.place(_model(config["model"], classes, found.state, found.path)).eval(),
        classes=classes,
        task=facts["task"],
        chain=pixels.build_chain(transforms["eval"], transforms["image_size"], transforms["resize_size"]),
        normalize=normalize.to(target.torch_device),
        device=target,
        config=config,
        path=found.path,
        scores=facts.get("scores", {}),
        notes=[f"warning: {problem}; used {found.path.name}" for problem in found.problems],
    )


def _checked(facts: Mapping[str, Any], path: Path) -> Config:
    """Return the config in a checkpoint's facts. Raises ConfigError for any unknown name or option."""
    if missing := [name for name in _NEEDED if name not in facts]:
        raise ConfigError(f"{path}: its manifest lacks {', '.join(missing)}: an older expkit wrote it; train again")
    config, classes = facts["config"], facts["class_names"]
    are_names = isinstance(classes, list) and classes and all(isinstance(name, str) for name in classes)
    if not isinstance(config, dict) or not are_names or facts["task"] not in _TASKS:
        raise ConfigError(f"{path}: its manifest is not one that expkit wrote")
    config = config | {"transforms": facts["transforms"]}  # with every `auto` resolved
    try:
        span = deep.checked_range(facts.get("deep_range"))
        config["dataset"] = dict(config.get("dataset", {})) | {"deep_range": list(span) if span else None}
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path}: its manifest is not one that expkit wrote: deep_range: {error}") from error
    faults = models.faults(config.get("model")) + pixels.faults(config.get("transforms"))
    if not faults:
        faults = _unresolved(config["transforms"])
    if faults:
        raise ConfigError(*(f"{path}: in its config: {fault}" for fault in faults))
    return config


def _unresolved(node: Mapping[str, Any]) -> list[str]:
    """Return a fault for each size or mean that was not resolved, which needs the training data."""
    sizes, normalize = ("image_size", "resize_size"), node.get("normalize", {})
    found = [f"transforms.{name}: is {node.get(name)!r}" for name in sizes if not isinstance(node.get(name), int)]
    for name in ("mean", "std"):
        if not isinstance(normalize.get(name), list) or len(normalize[name]) != 3:
            found.append(f"transforms.normalize.{name}: expected 3 numbers, got {normalize.get(name)!r}")
    return found


def _device(trained_on: object, device: str, precision: str | None) -> Device:
    """Return the device, with the run's precision and memory layout by default."""
    known = trained_on if isinstance(trained_on, Mapping) else {}  # a manifest may hold anything
    kept = {name: known[name] for name in ("precision", "channels_last") if name in known}
    if kept.get("precision") not in ("fp32", "tf32", "bf16"):
        kept.pop("precision", None)
    node = {"name": device, **kept, **({"precision": precision} if precision else {})}
    if faults := devices.faults(node):
        raise ConfigError(*faults)
    options: DeviceOptions = devices.shared(node)
    found = Device(devices.build(node), options)
    found.activate()
    return found


def _model(node: Mapping[str, Any], classes: Sequence[str], state: Mapping[str, Any], path: Path) -> nn.Module:
    """Build the network and load the checkpoint's weights, all or nothing. Raises ConfigError.

    Uses the average of the weights if the run kept one: the checkpoint's scores are the average's.
    """
    try:
        weights = weights_of(dict(state))
        _refuse_larger(node, classes, weights, path)
        model = build_untrained(node, len(classes))
        model.load_state_dict(weights)
    except (RuntimeError, LookupError, TypeError, AttributeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"{path}: its weights do not fit its model {node['name']}: {reason}") from error
    return model


def _refuse_larger(node: Mapping[str, Any], classes: Sequence[str], weights: Mapping[str, Any], path: Path) -> None:
    """Raise ConfigError for a model much larger than its weights, before it is allocated."""
    held = sum(value.numel() for value in weights.values() if isinstance(value, Tensor))
    try:
        planned = planned_numbers(node, lambda: build_untrained(node, len(classes)))
    except ConfigError as error:
        raise ConfigError(*(f"{path}: in its config: {fault}" for fault in error.faults)) from error
    if planned and planned > 2 * held + _SPARE:
        raise ConfigError(f"{path}: its weights do not fit its model {node['name']}: {held:,} of {planned:,} numbers")
