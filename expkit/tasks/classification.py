"""Classes: one for each image, or any number of them."""

from torch import Tensor

from expkit.config.registry import tasks
from expkit.tasks.class_metrics import Accuracy, probabilities_of
from expkit.tasks.metric import Metric, SampleMean
from expkit.tasks.metrics import validation_metrics
from expkit.tasks.task import Task


class Classification(Task):
    """One class for each image; the model gives (N, C) logits."""

    kind, form = "single_label", "classes"
    output_name, output_text = "logits", "logits (N, C); softmax gives probabilities"

    def metrics(self) -> list[Metric]:
        return validation_metrics(self.kind, self.num_outputs)

    def training_metrics(self) -> list[SampleMean]:
        return [Accuracy()]

    def answers(self, outputs: Tensor) -> Tensor:
        return probabilities_of(outputs, self.kind)


class Multilabel(Classification):
    """Any number of classes for each image; the model gives (N, C) logits, each class's own yes or no."""

    kind = "multilabel"
    output_text = "logits (N, C); sigmoid gives probabilities"


@tasks.register("classification")
def classification() -> Task:
    """One class for each image."""
    return Classification()


@tasks.register("multilabel")
def multilabel() -> Task:
    """Any number of classes for each image."""
    return Multilabel()
