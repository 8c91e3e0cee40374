"""The objects that the loop works with."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from expkit.checkpoints import Checkpoints
from expkit.data.loader import Loader
from expkit.data.mixing import Mixing
from expkit.devices import Device
from expkit.loggers import LoggerGuard
from expkit.training.averaging import Average
from expkit.training.divergence import Buffers
from expkit.training.interruption import Interruption
from expkit.training.metrics import EvalMetrics, TrainMetrics
from expkit.training.schedules import Schedule
from expkit.training.stopping import EarlyStopping
from expkit.training.teacher import Teacher
from expkit.training.unfreezing import GradualUnfreezing
from expkit.training.watch import Watch


@dataclass
class Parts:
    """The objects that the loop works with; normalize turns (N, 3, H, W) uint8 into the model's input."""

    model: nn.Module
    normalize: nn.Module
    loss: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    train: Loader
    val: Loader
    train_metrics: TrainMetrics
    eval_metrics: EvalMetrics
    device: Device
    monitor: str = "loss"  # the validation score that says which epoch is best
    mixing: Mixing | None = None  # MixUp, CutMix: of each training batch
    teacher: Teacher | None = None  # whose answers the loss takes too
    average: Average | None = None
    stopping: EarlyStopping | None = None
    unfreezing: GradualUnfreezing | None = None  # which layers are trained in an epoch
    buffers: Buffers | None = None  # the model's, to undo a step that is skipped
    checkpoints: Checkpoints | None = None
    logger: LoggerGuard = field(default_factory=LoggerGuard)
    interruption: Interruption = field(default_factory=Interruption)
    watch: Watch = field(default_factory=Watch)  # pictures, tables, curves: never part of what is computed
    chance: float = math.nan  # the loss of a model that knows nothing
    facts: dict[str, Any] = field(default_factory=dict)  # what a checkpoint says of its model: classes, input, ...

    def stateful(self) -> dict[str, Any]:
        """Return the parts whose state a checkpoint holds, by their name in it."""
        found = {"model": self.model, "optimizer": self.optimizer, "schedule": self.schedule}
        found |= {"metrics": self.train_metrics, "average": self.average, "stopping": self.stopping}
        return {name: part for name, part in found.items() if part is not None}
