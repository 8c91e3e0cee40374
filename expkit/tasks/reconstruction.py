"""The image itself, through a narrow place."""

from torch import Tensor

from expkit.config.registry import tasks
from expkit.tasks.metric import Metric
from expkit.tasks.pixel_metrics import Psnr
from expkit.tasks.task import Task


class Reconstruction(Task):
    """Each image from a few numbers of it; the model gives (N, 3, H, W) pixels from 0 to 1."""

    kind, form, output_name = "reconstruction", "images", "pixels"
    output_text = "pixels (N, 3, H, W) from 0 to 1"

    def output_shape(self, height: int, width: int) -> tuple[int, ...]:
        return (self.num_outputs, height, width)

    def metrics(self) -> list[Metric]:
        return [Psnr()]

    def targets(self, images: Tensor, targets: Tensor) -> Tensor:
        return images.float() / 255

    def answers(self, outputs: Tensor) -> Tensor:
        return (outputs * 255).round().clamp(0, 255).byte()


@tasks.register("reconstruction")
def reconstruction() -> Task:
    """The image itself, as an autoencoder learns it."""
    return Reconstruction()
