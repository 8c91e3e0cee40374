"""Classes: one for each image, or any number of them."""

from expkit.config.registry import tasks
from expkit.tasks.class_metrics import Accuracy
from expkit.tasks.metric import Metric, SampleMean
from expkit.tasks.metrics import validation_metrics
from expkit.tasks.task import Task


class Classification(Task):
    """One class for each image; the model gives (N, C) logits."""

    kind = "single_label"

    def metrics(self) -> list[Metric]:
        return validation_metrics(self.kind, self.num_outputs)

    def training_metrics(self) -> list[SampleMean]:
        return [Accuracy()]


class Multilabel(Classification):
    """Any number of classes for each image; the model gives (N, C) logits, each class's own yes or no."""

    kind = "multilabel"


@tasks.register("classification")
def classification() -> Task:
    """One class for each image."""
    return Classification()


@tasks.register("multilabel")
def multilabel() -> Task:
    """Any number of classes for each image."""
    return Multilabel()
