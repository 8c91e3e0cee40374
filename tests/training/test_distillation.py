"""Distillation: Hinton's loss, and a teacher read from a run."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from expkit.api import Run
from expkit.config.hydra_loader import Config
from expkit.core.errors import ConfigError
from expkit.inference import load_trained
from expkit.runs.build import build
from expkit.runs.train import train as train_run
from expkit.training.distillation import Teacher
from expkit.training.losses import Distillation

Compose = Callable[..., Config]


def logits(seed: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(5, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_loss_is_that_of_its_formula() -> None:
    ours, theirs, targets = logits(0), logits(1), torch.tensor([0, 3, 1, 2, 2])
    p, q = (theirs / 3).softmax(1), (ours / 3).softmax(1)
    soft = (p * (p.log() - q.log())).sum(1).mean()
    hard = -ours.log_softmax(1)[torch.arange(5), targets].mean()
    loss = Distillation(temperature=3.0, weight=0.7)
    assert float(loss(ours, targets, theirs)) == pytest.approx(float(0.7 * 9 * soft + 0.3 * hard), rel=1e-6)
    assert float(loss(ours, targets)) == pytest.approx(float(hard))


def test_at_high_temperatures_its_gradient_matches_logits() -> None:
    """Equation 4 of the paper, times T**2 and for the mean over a batch: (z - v) / (C * N) of zero-meaned logits."""
    ours, theirs = (one - one.mean(1, keepdim=True) for one in (logits(0), logits(1)))
    ours.requires_grad_()
    Distillation(temperature=1000.0, weight=1.0)(ours, torch.zeros(5, dtype=torch.int64), theirs).backward()
    torch.testing.assert_close(ours.grad, (ours.detach() - theirs) / (4 * 5), rtol=0.02, atol=1e-4)


def test_a_teacher_that_is_matched_leaves_nothing_to_learn() -> None:
    ours = logits(2).requires_grad_()
    Distillation(temperature=4.0, weight=1.0)(ours, torch.zeros(5, dtype=torch.int64), ours.detach()).backward()
    assert ours.grad is not None
    assert float(ours.grad.abs().max()) < 1e-7


def test_a_teacher_sees_its_own_normalisation_and_tells_the_student_s_classes() -> None:
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    raw = torch.rand(2, 3, 4, 4)
    mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.3, 0.4])  # the student's; the teacher's 0 and 1
    teacher = Teacher(model, [2, 0, 1], std / 1, (mean - 0) / 1)
    seen = (raw - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    torch.testing.assert_close(teacher(seen), raw.mean((2, 3))[:, [2, 0, 1]])


@pytest.fixture
def teacher_run(small_config: Compose, tmp_path: Path) -> Path:
    return train_run(
        small_config("epochs=1", "name=teacher", "transforms.normalize={mean: [0.5, 0.5, 0.5], std: [1, 1, 1]}"),
        [],
        "…",
    )


def test_a_run_learns_from_another_one(small_config: Compose, teacher_run: Path) -> None:
    config = small_config("loss=distill", f"loss.teacher={teacher_run}", "model.width=6", "epochs=1")
    trainer = build(config).trainer
    teacher = trainer.step.loss.teacher
    assert teacher is not None
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    trained = load_trained(teacher_run, device="cpu")
    torch.testing.assert_close(
        teacher(trainer.step.normalize(images)).float(), trained.logits(images), rtol=1e-3, atol=1e-4
    )
    before = {name: value.clone() for name, value in teacher.model.state_dict().items()}
    asked: list[int] = []
    model = teacher.model
    handle = model.register_forward_hook(lambda module, inputs, outputs: asked.append(len(inputs[0])))
    trainer.run()
    handle.remove()
    assert sum(asked) == 40  # each training image once, none of validation
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["loss.teacher=nowhere"], r"loss\.teacher: nowhere: there is no such file or folder"),
        (["dataset=fake"], r"loss\.teacher: .* has other classes \(only it has circle, .*\); use one with the same"),
        (["loss.temperature=0"], r"loss\.temperature: takes a number above 0"),
        (["loss.weight=2"], r"loss\.weight: takes a number from 0 to 1"),
    ],
)
def test_what_cannot_teach_is_refused(
    overrides: list[str], sentence: str, small_config: Compose, teacher_run: Path
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        build(small_config("loss=distill", f"loss.teacher={teacher_run}", *overrides))


def test_a_model_of_numbers_cannot_teach_classes(small_config: Compose, task_runs: dict[str, Run]) -> None:
    with pytest.raises(ConfigError, match=r"loss\.teacher: .* is a model for regression; give one for classes"):
        build(small_config("loss=distill", f"loss.teacher={task_runs['regression'].folder}"))
