"""Load a trained model, with its transforms and classes, from its checkpoint alone."""

from collections.abc import Iterable, Iterator, Mapping
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
from expkit.devices import Device
from expkit.devices.device import DeviceOptions
from expkit.inference.locate import Which, read_trained
from expkit.inference.masks import crop_of, mask_of
from expkit.inference.pictures import Picture, pictures
from expkit.inference.trained_task import task_of
from expkit.inference.tta import Views, averaged
from expkit.models.planned import planned_numbers
from expkit.models.pretrained import build_untrained
from expkit.tasks.task import Task

Config = dict[str, Any]

_NEEDED = ("class_names", "task", "config", "transforms")
_SPARE = 1_000_000  # numbers that a model may have beyond twice those of its checkpoint


@dataclass(repr=False)
class Trained:
    """A trained model that is ready to be applied.

    model: from normalised (N, 3, H, W) float32 images on the device to outputs, e.g. (N, C) logits. classes: names of
    the classes, the numbers or the channels. task: what was learned; `task.kind` is "single_label", "multilabel",
    "regression", "segmentation", "reconstruction" or a plugin's. chain: the evaluation transforms on (3, H, W) uint8;
    normalize: from a batch of uint8 to the model's input. config: the run's, with every `auto` of its transforms
    resolved. path, scores: of the checkpoint. notes: sentences for the user.
    """

    model: nn.Module
    classes: tuple[str, ...]
    task: Task
    chain: pixels.Chain
    normalize: pixels.Normalize
    device: Device
    config: Config
    path: Path
    scores: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        name, known = self.config["model"]["name"], ", ".join(self.classes[:6]) + ", …" * (len(self.classes) > 6)
        return f"Trained({name}, {self.counted}: {known}; on {self.device.torch_device}; {self.path})"

    @property
    def counted(self) -> str:
        """How many outputs there are of what, e.g. `5 classes`, `3 numbers`."""
        noun = {"numbers": "number", "images": "channel"}.get(self.task.form, "class")
        return count_noun(len(self.classes), noun)

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

        They add up to 1 for single_label; for multilabel each is independent. views: test-time augmentation. Raises
        ConfigError for a model of other outputs than classes.
        """
        if self.task.form != "classes":
            raise ConfigError(f"{self.path}: a model for {self.task.kind} gives no probabilities; use predict")

        def predict(images: Tensor) -> Tensor:
            return self.task.answers(self.logits(images))

        return averaged(predict, self.device.images(images), views).cpu()

    def logits(self, images: Tensor) -> Tensor:
        """Return (N, …) float32 outputs, on the device, of (N, 3, h, w) uint8 images on the device."""
        with self.device.autocast():
            logits = self.task.predict(self.model, self.normalize(images))
        return logits.float()

    @torch.inference_mode()
    def outputs(self, images: Tensor, views: Views = "none") -> Tensor:
        """Return (N, …) float32 outputs, on the device, of (N, 3, h, w) uint8 images from `seen`.

        They are what the metrics of the task take; of masks with views log-probabilities. Raises ConfigError for views
        that do not go with the task.
        """
        self.check_views(views)
        images = self.device.images(images)
        if views == "none":
            return self.logits(images)
        mirrored = self.logits(images.flip(-1)).flip(-1)
        return (self.logits(images).softmax(1) + mirrored.softmax(1)).div(2).clamp_min(1e-12).log()

    def check_views(self, views: Views) -> None:
        """Raise ConfigError for test-time augmentation that does not go with the task."""
        if views not in get_args(Views):
            raise ConfigError(f"views: expected one of {', '.join(get_args(Views))}, got {views!r}")
        allowed = {"classes": get_args(Views), "masks": ("none", "flip")}.get(self.task.form, ("none",))
        if views not in allowed:
            raise ConfigError(
                f"views: {views} cannot be averaged for {self.task.kind}; it takes {' or '.join(allowed)}"
            )

    def predict(self, images: Picture | Iterable[Picture], views: Views = "none") -> list[Any]:
        """Return what the model says of each image; a list of one for one image.

        By the task: classes: a dict of probabilities by class, the most probable first; regression: a dict of numbers
        by name, in their own units; segmentation: an (H, W) uint8 tensor, the class of each pixel of the image as it
        was given, or as the model sees it where the transforms crop; reconstruction: a (3, h, w) uint8 tensor.

        images: one or many of: a path, a Pillow image, a NumPy array or a tensor, (H, W), (H, W, C) or (C, H, W), or a
        batch of them; uint8 from 0 to 255, uint16, or floats from 0 to 1. Grey becomes three channels, transparency is
        dropped. views: none, flip or five_crop, test-time augmentation. Raises ConfigError for what is not an image,
        BadImage for a file that cannot be read. For more than a few files `python -m expkit predict` is faster: it
        reads them with worker processes.
        """
        self.check_views(views)
        found = []
        for image, name in pictures(images, self.decoder, "images"):
            seen = self.chain.apply_to_sample(image, lambda name=name: name)  # type: ignore[misc]
            if self.task.form == "classes":
                found.append(self._ranked(self.probabilities(seen[None], views)[0]))
            else:
                found.append(self.answer(self.outputs(seen[None], views)[0], (image.shape[-2], image.shape[-1])))
        return found

    def _ranked(self, probabilities: Tensor) -> dict[str, float]:
        order = probabilities.argsort(descending=True, stable=True).tolist()
        return {self.classes[place]: float(probabilities[place]) for place in order}

    def answer(self, outputs: Tensor, size: tuple[int, int]) -> Any:
        """Return what `predict` does of one image's outputs. size: height and width of the image as it was given."""
        if self.task.form == "masks":
            return mask_of(outputs, size if self.keeps_places else (outputs.shape[-2], outputs.shape[-1]))
        answer = self.task.answers(outputs[None])[0].cpu()
        return self._named(answer) if self.task.form == "numbers" else answer

    def _named(self, numbers: Tensor) -> dict[str, float]:
        """Return numbers by name; those of a plugin may be more, or fewer, than its names."""
        values = numbers.double().flatten().tolist()
        names = self.classes if len(values) == len(self.classes) else [f"output_{n + 1}" for n in range(len(values))]
        return dict(zip(names, values, strict=True))

    @property
    def keeps_places(self) -> bool:
        """Whether the model sees whole images, so that masks can be brought back to their size."""
        return not crop_of(self.chain)


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
    facts, task = found.facts, task_of(found.facts, found.path)
    transforms = config["transforms"]
    normalize = pixels.Normalize(*(tuple(transforms["normalize"][name]) for name in ("mean", "std")))
    return Trained(
        model=target.place(_model(config["model"], task.num_outputs, found.state, found.path)).eval(),
        classes=task.info.outputs,
        task=task,
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
    if not isinstance(config, dict) or not are_names or not isinstance(facts["task"], str):
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


def _model(node: Mapping[str, Any], num_outputs: int, state: Mapping[str, Any], path: Path) -> nn.Module:
    """Build the network and load the checkpoint's weights, all or nothing. Raises ConfigError.

    Uses the average of the weights if the run kept one: the checkpoint's scores are the average's.
    """
    try:
        weights = weights_of(dict(state))
        _refuse_larger(node, num_outputs, weights, path)
        model = build_untrained(node, num_outputs)
        model.load_state_dict(weights)
    except (RuntimeError, LookupError, TypeError, AttributeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"{path}: its weights do not fit its model {node['name']}: {reason}") from error
    return model


def _refuse_larger(node: Mapping[str, Any], num_outputs: int, weights: Mapping[str, Any], path: Path) -> None:
    """Raise ConfigError for a model much larger than its weights, before it is allocated."""
    held = sum(value.numel() for value in weights.values() if isinstance(value, Tensor))
    try:
        planned = planned_numbers(node, lambda: build_untrained(node, num_outputs))
    except ConfigError as error:
        raise ConfigError(*(f"{path}: in its config: {fault}" for fault in error.faults)) from error
    if planned and planned > 2 * held + _SPARE:
        raise ConfigError(f"{path}: its weights do not fit its model {node['name']}: {held:,} of {planned:,} numbers")
