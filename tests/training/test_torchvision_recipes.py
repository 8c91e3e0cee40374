"""The presets against torchvision's reference training script: the same losses on the same batches, step for step.

The loop below does what its references/classification/train.py does with the arguments of the published commands,
written anew; only what the batches hold, and the seeds before what draws at random, come from the run.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR, StepLR
from torch.optim.swa_utils import AveragedModel
from torchvision import models
from torchvision.transforms import v2

from expkit.config.compose import compose_one, plain
from expkit.core.seeding import derive_seed
from expkit.runs.build import build
from expkit.training.trainer import Trainer

EPOCHS, STEPS = 7, 3  # of which 5 epochs are the warm-up of the newer recipe
SLOWER = 32  # batches are so much smaller that rates are divided by this, on both sides, lest the losses explode
IS_LONG = os.environ.get("EXPKIT_LONG") == "1"


@dataclass
class Arguments:
    """The command line of the script; the defaults are its own."""

    model: str
    lr: float = 0.1
    opt: str = "sgd"
    weight_decay: float = 1e-4
    norm_weight_decay: float | None = None
    lr_scheduler: str = "steplr"
    lr_warmup_epochs: int = 0
    lr_step_size: int = 30
    lr_gamma: float = 0.1
    label_smoothing: float = 0.0
    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0
    model_ema: bool = False
    model_ema_steps: int = 32
    model_ema_decay: float = 0.99998
    batch_size: int = 4
    epochs: int = EPOCHS
    momentum: float = 0.9
    lr_warmup_decay: float = 0.01


RECIPES = {
    "torchvision_resnet50": Arguments(
        "resnet50", lr=0.5 / SLOWER, lr_scheduler="cosineannealinglr", lr_warmup_epochs=5, weight_decay=2e-5,
        norm_weight_decay=0.0, label_smoothing=0.1, mixup_alpha=0.2, cutmix_alpha=1.0, model_ema=True,
    ),
    "torchvision_resnet50_v1": Arguments("resnet50", lr=0.1 / SLOWER),
    "torchvision_mobilenet_v3_large": Arguments(
        "mobilenet_v3_large", lr=0.064 / SLOWER, opt="rmsprop", weight_decay=1e-5, lr_step_size=2, lr_gamma=0.973
    ),
}  # fmt: skip


def parameters_of(model: nn.Module, arguments: Arguments) -> Any:
    if arguments.norm_weight_decay is None:
        return model.parameters()
    norms = [p for layer in model.modules() if isinstance(layer, nn.BatchNorm2d) for p in layer.parameters()]
    others = [p for p in model.parameters() if all(p is not norm for norm in norms)]
    decays = (arguments.norm_weight_decay, arguments.weight_decay)
    return [{"params": p, "weight_decay": decay} for p, decay in zip((norms, others), decays, strict=True)]


def optimizer_of(model: nn.Module, arguments: Arguments) -> torch.optim.Optimizer:
    common: dict[str, Any] = {"momentum": arguments.momentum, "weight_decay": arguments.weight_decay}
    if arguments.opt == "rmsprop":
        return torch.optim.RMSprop(parameters_of(model, arguments), arguments.lr, eps=0.0316, alpha=0.9, **common)
    return torch.optim.SGD(parameters_of(model, arguments), arguments.lr, **common)


def scheduler_of(optimizer: torch.optim.Optimizer, arguments: Arguments) -> Any:
    if arguments.lr_scheduler == "steplr":
        return StepLR(optimizer, step_size=arguments.lr_step_size, gamma=arguments.lr_gamma)
    warm = arguments.lr_warmup_epochs
    rise = LinearLR(optimizer, start_factor=arguments.lr_warmup_decay, total_iters=warm)
    fall = CosineAnnealingLR(optimizer, T_max=arguments.epochs - warm, eta_min=0.0)
    return SequentialLR(optimizer, schedulers=[rise, fall], milestones=[warm])


def average_of(model: nn.Module, arguments: Arguments) -> AveragedModel:
    adjust = arguments.batch_size * arguments.model_ema_steps / arguments.epochs
    decay = 1.0 - min(1.0, (1.0 - arguments.model_ema_decay) * adjust)
    return AveragedModel(model, avg_fn=lambda mean, new, count: decay * mean + (1 - decay) * new, use_buffers=True)


def reference_losses(arguments: Arguments, model: nn.Module, trainer: Trainer) -> tuple[list[float], AveragedModel]:
    """Train as the script does; returns the loss of each step, and the averaged model."""
    criterion = nn.CrossEntropyLoss(label_smoothing=arguments.label_smoothing)
    optimizer = optimizer_of(model, arguments)
    scheduler, average = scheduler_of(optimizer, arguments), average_of(model, arguments)
    losses = []
    for epoch in range(arguments.epochs):
        model.train()
        for i, (images, targets) in enumerate(batches(arguments, trainer, epoch)):
            torch.manual_seed(derive_seed(0, "step", epoch, i))  # of dropout
            loss = criterion(model(images), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if i % arguments.model_ema_steps == 0:
                average.update_parameters(model)
                if epoch < arguments.lr_warmup_epochs:
                    average.n_averaged.fill_(0)
            losses.append(float(loss.detach()))
        scheduler.step()
    return losses, average


def batches(arguments: Arguments, trainer: Trainer, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    alphas = ((v2.MixUp, arguments.mixup_alpha), (v2.CutMix, arguments.cutmix_alpha))
    ways = [way(alpha=alpha, num_classes=3) for way, alpha in alphas if alpha > 0]
    for number, batch in zip(range(STEPS), trainer.train_loader.epoch(epoch), strict=False):
        images, targets = trainer.step.normalize(batch.images).contiguous(), batch.targets
        if ways:
            torch.manual_seed(derive_seed(0, "batch", epoch, number))
            images, targets = ways[int(torch.randint(len(ways), ()))](images, targets)
        yield images, targets


@pytest.fixture
def config_of(tmp_path: Path, image_files: Callable[..., Path]) -> Callable[..., dict[str, Any]]:
    names = [f"{split}/{word}/{n}.jpg" for split in ("train", "val") for word in ("a", "b", "c") for n in range(5)]
    root = image_files("set", *names, size=(80, 70))

    def compose(preset: str, *more: str) -> dict[str, Any]:
        small = ["dataset=image_folder", f"dataset.root={root}", "batch_size=4", f"epochs={EPOCHS}", "logger=none"]
        small += ["device=cpu", "device.channels_last=false", "device.threads=1"]
        small += ["checkpoint=none", "++dataset.num_workers=0"]
        small += [f"limit_train_batches={STEPS}", "transforms.image_size=64", f"output_dir={tmp_path}"]
        return plain(compose_one([f"experiment={preset}", *small, *more]))

    return compose


def losses_of(trainer: Trainer) -> list[float]:
    """Run a whole training, without its evaluations, and return the loss of each batch."""
    losses: list[float] = []
    update = trainer.state.metrics.update

    def noting(batch: int, loss: Tensor, logits: Tensor, targets: Tensor) -> None:
        losses.append(float(loss))
        update(batch, loss, logits, targets)

    trainer.state.metrics.update = noting  # type: ignore[method-assign]
    trainer.evaluate = lambda: {"loss": 0.0, "accuracy": 0.0}  # type: ignore[method-assign]
    trainer.run()
    return losses


@pytest.mark.parametrize("preset", RECIPES if IS_LONG else ["torchvision_mobilenet_v3_large"])
def test_the_losses_are_those_of_the_script(preset: str, config_of: Callable[..., dict[str, Any]]) -> None:
    arguments = RECIPES[preset]
    config = config_of(preset)
    if preset == "torchvision_resnet50":
        assert config["transforms"]["train"][0] == {"name": "RandomResizedCrop", "size": 176}
        config["transforms"]["train"][0]["size"] = 64
    config["optimizer"]["lr"] /= SLOWER
    trainer = build(config).trainer
    model = models.get_model(arguments.model, num_classes=3)
    model.load_state_dict(trainer.state.model.state_dict())
    expected, average = reference_losses(arguments, model, trainer)
    ours = losses_of(trainer)
    assert len(ours) == EPOCHS * STEPS
    differences = [abs(one - other) for one, other in zip(ours, expected, strict=True)]
    print(f"{preset}: {len(ours)} steps, largest difference {max(differences):.1e}, losses up to {max(expected):.2f}")
    assert max(differences) < 1e-5
    assert max(ours) - min(ours) > 0.1  # it has moved
    if arguments.model_ema:
        assert trainer.state.average is not None
        state = trainer.state.average.model.state_dict()
        for name, value in average.module.state_dict().items():
            torch.testing.assert_close(state[name], value, rtol=1e-4, atol=1e-5)
