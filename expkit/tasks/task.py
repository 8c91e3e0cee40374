"""The protocol of a task: everything that the runner does not know of what it trains."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from torch import Tensor

from expkit.config.registry import tasks
from expkit.core.errors import ConfigError
from expkit.data.dataset import ImageDataset, Splits
from expkit.tasks.metric import Metric, SampleMean

Model = Callable[[Tensor], Any]
Loss = Callable[[Any, Tensor], Tensor]  # of the model's outputs and the targets, the mean
Form = Literal["classes", "numbers", "masks", "images"]  # what a prediction is


@dataclass(frozen=True)
class TaskInfo:
    """What a task knows of the training data; it is kept in checkpoints, since a trained model has no data.

    outputs: names of the classes, numbers or channels that the model gives. statistics: numbers by name, for JSON.
    """

    outputs: tuple[str, ...]
    statistics: Mapping[str, Sequence[float]] = field(default_factory=dict)


class Task:
    """What is learned from a sample. Holds no weights, optimizer or random state.

    kind: the datasets' term for its targets. form: what `answers` returns. output_name, output_text: what an exported
    model calls its output, and says of it. Override what differs from one output per class or number.
    """

    kind: ClassVar[str]
    form: ClassVar[Form] = "numbers"
    output_name: ClassVar[str] = "outputs"
    output_text: ClassVar[str] = "outputs (N, K), as the model gives them"
    info: TaskInfo

    def describe(self, data: ImageDataset) -> TaskInfo:
        """Return what to know of the training data, whose targets are of this kind."""
        return TaskInfo(tuple(data.class_names))

    @property
    def num_outputs(self) -> int:
        """Of the model: it is built with this number of classes."""
        return len(self.info.outputs)

    def output_shape(self, height: int, width: int) -> tuple[int, ...]:
        """Return the shape of the output for one image."""
        return (self.num_outputs,)

    def metrics(self) -> list[Metric]:
        """Return the scores of validation, of outputs and targets; the first is the main one, beside the loss."""
        return []

    def training_metrics(self) -> list[SampleMean]:
        """Return those of training, beside the loss."""
        return []

    def targets(self, images: Tensor, targets: Tensor) -> Tensor:
        """Return what the loss and the metrics compare with the outputs.

        images: (N, 3, H, W) uint8, on the device, before they are normalised. targets: as the loader gave them.
        """
        return targets

    def training_step(self, model: Model, loss: Loss, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss of a batch and the (N, …) outputs that metrics see.

        images: normalised, (N, 3, H, W) float32.
        """
        outputs = model(images)
        return loss(outputs, targets), main_output(outputs)

    def predict(self, model: Model, images: Tensor) -> Tensor:
        """Return the (N, …) outputs for a batch. model: in evaluation mode."""
        return main_output(model(images))

    def answers(self, outputs: Tensor) -> Tensor:
        """Return what to show a user of the (N, …) outputs of a trained model.

        By `form`: (N, C) probabilities of classes; (N, K) numbers in their own units; (N, H, W) uint8 classes of the
        pixels; (N, 3, H, W) uint8 images.
        """
        return outputs


def main_output(outputs: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Return the outputs of the main head; models with auxiliary heads give a tuple in training."""
    return outputs if isinstance(outputs, Tensor) else outputs[0]


_NAMES = {"single_label": "classification"}  # of the task, by the kind of the targets; else they are the same


@tasks.register("auto")
def auto() -> None:
    """The task for which the data set has targets."""


def build_task(node: Mapping[str, Any], splits: Splits) -> tuple[Task, Splits]:
    """Build the task of a checked node, and return the splits with its targets. Raises ConfigError."""
    kind = splits.train.task
    is_auto = node["name"] == "auto"
    task: Task = tasks.entry(_NAMES.get(kind, kind)).factory() if is_auto else tasks.build(node)
    if task.kind != kind:
        parts = {part: getattr(splits, part) for part in ("train", "val", "test")}
        found = {part: data.for_task(task.kind) for part, data in parts.items() if data is not None}
        splits = Splits(**{**vars(splits), **found})
    task.info = task.describe(splits.train)
    return task, splits


def trained_task(
    kind: str, outputs: Sequence[str], statistics: Mapping[str, Sequence[float]], node: Mapping[str, Any] | None = None
) -> Task:
    """Return the task of a trained model, as its checkpoint tells it. Raises ConfigError for one that is not known.

    node: of the run's config; None or `auto`: the task of the kind of the targets.
    """
    if node is None or node.get("name") == "auto":
        node = {"name": _NAMES.get(kind, kind)}
    if node.get("name") not in tasks.names():
        raise ConfigError(f"there is no task '{node.get('name')}'; --plugin names the file that adds it")
    task: Task = tasks.build(node)
    if task.kind != kind:
        raise ConfigError(f"the task {node['name']} learns {task.kind}, and the checkpoint's targets are {kind}")
    task.info = TaskInfo(tuple(outputs), statistics)
    return task
