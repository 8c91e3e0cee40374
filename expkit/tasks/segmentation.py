"""The class of each pixel."""

from torch import Tensor

from expkit.config.registry import tasks
from expkit.tasks.metric import Metric
from expkit.tasks.pixel_metrics import MeanIoU, PixelAccuracy
from expkit.tasks.task import Task


class Segmentation(Task):
    """The class of each pixel; the model gives (N, C, H, W) logits. A pixel of 255 in a mask counts for nothing."""

    kind, form, output_name = "segmentation", "masks", "logits"
    output_text = "logits (N, C, H, W); argmax over C gives the class of each pixel"

    def output_shape(self, height: int, width: int) -> tuple[int, ...]:
        return (self.num_outputs, height, width)

    def metrics(self) -> list[Metric]:
        return [MeanIoU(self.num_outputs), PixelAccuracy()]

    def targets(self, images: Tensor, targets: Tensor) -> Tensor:
        return targets.long()

    def answers(self, outputs: Tensor) -> Tensor:
        return outputs.argmax(1).byte()


@tasks.register("segmentation")
def segmentation() -> Task:
    """The class of each pixel, learned from masks."""
    return Segmentation()
