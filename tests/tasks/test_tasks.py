"""The tasks: their targets, their losses and metrics by value, and what is refused before the first step."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import tv_tensors

from expkit.config.hydra_loader import Config
from expkit.core.errors import ConfigError
from expkit.data.batches import Samples
from expkit.data.dataset import ImageDataset, Subset
from expkit.data.datasets import load
from expkit.data.datasets.shapes import CLASSES, shape
from expkit.data.decode import BadImage
from expkit.data.targets import UNKNOWN, check_mask
from expkit.data.transforms import Chain
from expkit.runs.build import build
from expkit.runs.check import check
from expkit.tasks.number_metrics import R2, MeanAbsoluteError
from expkit.tasks.pixel_metrics import MeanIoU, PixelAccuracy, Psnr
from expkit.tasks.task import build_task
from expkit.training.pixel_losses import Dice, PixelCrossEntropy
from tests.tasks.tasks import TASKS

Compose = Callable[..., Config]
CPU = torch.device("cpu")


def drawn(small_config: Compose, task: str) -> ImageDataset:
    config = check(small_config(*TASKS[task]))
    return build_task(config["task"], load(config["dataset"]))[1].train


def test_numbers_are_those_of_the_drawn_shape(small_config: Compose) -> None:
    data = drawn(small_config, "regression")
    assert (data.class_names, data.targets.shape) == (("centre_x", "centre_y", "area"), (40, 3))
    for index in (0, 17, 39):  # noise has a deviation of 8, and a shape another colour
        pixels = data.image(index).float()
        ground = pixels[:, 0, 0, None, None]
        inside = (pixels - ground).abs().sum(0) > 75
        rows, columns = inside.nonzero().double().mean(0) / 32
        assert (columns, rows, inside.double().mean()) == pytest.approx(data.targets[index].tolist(), abs=0.08)


def test_masks_are_those_of_the_drawn_shape(small_config: Compose) -> None:
    data, numbers = drawn(small_config, "segmentation"), drawn(small_config, "regression")
    assert data.class_names == ("background", *CLASSES)
    for index in range(0, 40, 7):
        mask = data.target(index)
        assert (mask.shape, mask.dtype) == ((32, 32), torch.uint8)
        assert mask.unique().tolist() == [0, int(data.targets[index]) + 1]
        assert float((mask > 0).double().mean()) == pytest.approx(float(numbers.targets[index][2]), abs=0.02)


def test_the_area_is_that_of_a_polygon() -> None:
    square = shape("square", 3)._replace(corners=[(0.0, 0.0), (0.5, 0.0), (0.5, 0.25), (0.0, 0.25)])
    assert square.area == pytest.approx(0.125)


def test_a_mask_moves_with_its_image(small_config: Compose) -> None:
    from torchvision.transforms import v2

    data = drawn(small_config, "segmentation")
    samples = Samples(data, Chain([v2.RandomHorizontalFlip(1.0), v2.Resize([64, 64])]), 0, "sample")
    image, mask = samples.sample(4, 0, 0)
    assert mask is not None
    assert torch.equal(mask, data.target(4).flip(-1).repeat_interleave(2, 0).repeat_interleave(2, 1))
    assert image.shape == (3, 64, 64)


def test_a_view_is_cut_as_its_data_are(small_config: Compose) -> None:
    data = drawn(small_config, "segmentation")
    part = Subset(data, np.array([5, 2]))
    assert torch.equal(part.target(1), data.target(2))
    again = Subset(Subset(data, np.arange(4)).for_task("regression"), np.array([3]))
    assert again.targets.tolist() == drawn(small_config, "regression").targets[3:4].tolist()
    assert part.for_task("reconstruction").task == "reconstruction"


# ---- metrics and losses, by value -------------------------------------------------------------------------------


def in_batches(metric, outputs: torch.Tensor, targets: torch.Tensor) -> float:  # type: ignore[no-untyped-def]
    metric.reset(CPU)
    for part in (slice(0, 3), slice(3, None)):
        metric.update(outputs[part], targets[part])
    return metric.compute()  # type: ignore[no-any-return]


def test_scores_of_numbers() -> None:
    from torchmetrics.functional.regression import mean_absolute_error, r2_score

    draw = torch.Generator().manual_seed(0)
    targets = torch.randn(9, 2, generator=draw)
    outputs = targets + 0.3 * torch.randn(9, 2, generator=draw)
    by_number = r2_score(outputs, targets, multioutput="raw_values").tolist()
    assert in_batches(R2(2), outputs, targets) == pytest.approx(sum(by_number) / 2)
    assert in_batches(R2(2, ["a", "b"]), outputs, targets) == pytest.approx({"a": by_number[0], "b": by_number[1]})
    errors = (mean_absolute_error(outputs, targets, num_outputs=2) * torch.tensor([2.0, 10.0])).tolist()
    found = in_batches(MeanAbsoluteError([2.0, 10.0], ["a", "b"]), outputs, targets)
    assert found == pytest.approx({"a": errors[0], "b": errors[1]})
    assert np.isnan(in_batches(R2(1), torch.zeros(9, 1), torch.ones(9, 1)))


def test_scores_of_masks() -> None:
    from torchmetrics.functional.classification import multiclass_accuracy, multiclass_jaccard_index

    draw = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(7, 4, 5, 6, generator=draw), torch.randint(0, 3, (7, 5, 6), generator=draw)
    targets[0, :2] = UNKNOWN
    known = {"num_classes": 4, "ignore_index": UNKNOWN}
    expected = multiclass_jaccard_index(logits, targets, average="macro", **known)
    assert in_batches(MeanIoU(4), logits, targets) == pytest.approx(float(expected))
    expected = multiclass_accuracy(logits, targets, average="micro", **known)
    assert in_batches(PixelAccuracy(), logits, targets) == pytest.approx(float(expected))


def test_scores_of_pixels() -> None:
    targets = torch.zeros(4, 3, 8, 8)
    outputs = torch.stack([torch.full((3, 8, 8), value) for value in (0.1, 0.1, 0.01, 1.0)])
    assert in_batches(Psnr(), outputs, targets) == pytest.approx((20 + 20 + 40 + 0) / 4)


@pytest.mark.parametrize("weight", [None, torch.tensor([1.0, 2.0, 0.5])])
def test_pixels_that_are_not_known_count_for_nothing(weight: torch.Tensor | None) -> None:
    draw = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(4, 3, 5, 6, generator=draw), torch.randint(0, 3, (4, 5, 6), generator=draw)
    targets[:, :2] = UNKNOWN
    loss = PixelCrossEntropy(weight)
    assert float(loss(logits, targets)) == pytest.approx(
        float(nn.functional.cross_entropy(logits, targets, weight, ignore_index=UNKNOWN)), rel=1e-5
    )
    parts = [(loss(logits[cut], targets[cut]), loss.weight_of(targets[cut])) for cut in (slice(1), slice(1, 4))]
    mean = sum(float(part * weight) for part, weight in parts) / sum(float(weight) for _, weight in parts)
    assert mean == pytest.approx(float(loss(logits, targets)), rel=1e-5)
    assert float(loss(logits, torch.full_like(targets, UNKNOWN))) == 0


def test_dice_is_zero_for_a_perfect_mask_and_one_for_a_wrong_one() -> None:
    targets = torch.arange(2).repeat_interleave(50).view(1, 10, 10)
    right = nn.functional.one_hot(targets, 2).movedim(-1, 1) * 100.0
    assert float(Dice(1.0, 0.0)(right, targets)) == pytest.approx(0, abs=1e-6)
    assert float(Dice(1e-6, 0.0)(-right, targets)) == pytest.approx(1, abs=1e-3)
    assert float(Dice(1.0, 1.0)(right, targets)) == pytest.approx(0, abs=1e-6)


# ---- wrong use ----------------------------------------------------------------------------------------------------

WRONG = [
    (["task=regresion"], "regression"),
    (["task=regression", "loss=cross_entropy"], "loss.name: cross_entropy needs one class per image; use loss=mse"),
    (["task=regression", "loss=bce"], "use loss=mse here"),
    (["task=regression", "loss=focal"], "loss.name: focal is for classes of images; use loss=mse here"),
    (["task=regression", "loss=dice"], "loss.name: dice is for masks"),
    (["task=regression", "model=unet"], "unet"),
    (["loss=mse"], "loss.name: mse is for numbers or pixels; use loss=cross_entropy here"),
    (["loss=huber", "loss.delta=0", "task=regression"], "loss.delta: takes a number above 0, got 0"),
    (["task=segmentation", "model=small_resnet"], "gives outputs of shape"),
    (["task=segmentation", "loss.class_weights=balanced"], "list a weight per class"),
    (["task=segmentation", "loss.class_weights=[1, 2]"], "2 weights for 6 classes"),
    (["task=segmentation", "loss=dice", "loss.smooth=0"], "loss.smooth: takes a number above 0"),
    (["task=segmentation", "transforms.batch=[{name: MixUp}]"], "transforms.batch: mixing needs one class per sample"),
    (["task=segmentation", "device.micro_batch=auto"], "batch normalisation"),
    (["task=multilabel"], "task.name: this data set has no targets for multilabel"),
    (["task=reconstruction", "model.code=0"], "model.code: takes 1 or more"),
    (["task=reconstruction", "checkpoint.monitor=accuracy"], "there is no score 'accuracy'; there is psnr, loss"),
    (["task=segmentation", "model.depth=9"], "depth 1 to 8"),
    (
        ["task=regression", "dataset.label_noise=0.2"],
        "dataset.label_noise: changes classes, and the task is regression",
    ),
]


@pytest.mark.parametrize(("overrides", "sentence"), WRONG, ids=[" ".join(row[0]) for row in WRONG])
def test_wrong_use_is_reported_before_the_first_step(
    overrides: list[str], sentence: str, small_config: Compose, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as refused:
        build(small_config("model=small_resnet", *overrides) if len(overrides) == 1 else small_config(*overrides))
    assert sentence in str(refused.value)
    assert not (tmp_path / "outputs").exists()


def test_a_mask_that_does_not_fit_is_a_bad_file() -> None:
    image = torch.zeros(3, 4, 5, dtype=torch.uint8)
    mask = torch.zeros(4, 5, dtype=torch.uint8)
    check_mask(tv_tensors.Mask(mask.index_fill(0, torch.tensor([1]), UNKNOWN)), image, 2, "a.png")
    for wrong, reason in (
        (mask.long(), "torch.int64"),
        (mask.T, r"\(5, 4\)"),
        (mask + 2, "holds the value 2; the classes are 0 to 1, and 255 is unknown"),
    ):
        with pytest.raises(BadImage, match=reason):
            check_mask(wrong, image, 2, "a.png")
