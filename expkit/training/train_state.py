"""What a checkpoint holds of a run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import nn

from expkit.config.run_options import RunOptions
from expkit.models import training_mode
from expkit.training.early_stopping import EarlyStopping
from expkit.training.metrics import Scores, TrainMetrics
from expkit.training.micro_batches import MicroBatches
from expkit.training.non_finite import gradient_norm
from expkit.training.optimizers import keep_layout
from expkit.training.schedules import Schedule
from expkit.training.unfreezing import GradualUnfreezing
from expkit.training.weight_averaging import Average


class RunLength(NamedTuple):
    """batches: of an epoch. steps_per_epoch: updates of the weights in one. last_step: with which the run ends."""

    batches: int
    steps_per_epoch: int
    last_step: int


def run_length(batches: int, options: RunOptions) -> RunLength:
    """Return the length of a run. batches: of an epoch, as far as the data go."""
    batches = min(batches, options.limit_train_batches or batches)
    steps_per_epoch = math.ceil(batches / options.accumulate_steps)
    return RunLength(batches, steps_per_epoch, min(options.epochs * steps_per_epoch, options.max_steps or 10**18))


@dataclass
class Position:
    """Where a run stands: the epoch, how many batches of it are done, and updates of the weights so far.

    scores: of the last epoch. skipped: (epoch, batch) that made the loss NaN before the run was rolled back.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    scores: Scores = field(default_factory=dict)
    skipped: set[tuple[int, int]] = field(default_factory=set)

    @property
    def place(self) -> tuple[int, int, int]:
        return self.epoch, self.batch, self.step

    def next_epoch(self) -> None:
        self.epoch, self.batch = self.epoch + 1, 0

    def state_dict(self) -> dict[str, Any]:
        state = {"epoch": self.epoch, "batch": self.batch, "step": self.step, "scores": self.scores}
        return state | {"passed_over": [list(place) for place in sorted(self.skipped)]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.epoch, self.batch, self.step = state["epoch"], state["batch"], state["step"]
        self.scores = state["scores"]
        self.skipped = {(epoch, batch) for epoch, batch in state["passed_over"]}


@dataclass
class TrainState:
    """The weights of a run and what moves them; there is no random state, since all draws are keyed.

    facts: what a checkpoint says of its model: classes, input, config. is_sharded: whether each rank has only a shard
    of the weights. unfreezing: which layers are trained in an epoch.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    metrics: TrainMetrics
    facts: dict[str, Any] = field(default_factory=dict)
    average: Average | None = None
    stopping: EarlyStopping | None = None
    scaler: torch.amp.GradScaler | None = None
    micro_batches: MicroBatches | None = None
    unfreezing: GradualUnfreezing | None = None
    is_sharded: bool = False
    position: Position = field(default_factory=Position)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the first group."""
        return float(self.optimizer.param_groups[0]["lr"])

    def start_epoch(self) -> None:
        """Have the model train, with the layers that are trained in this epoch."""
        if self.unfreezing:
            self.unfreezing.before_epoch(self.position.epoch)
        training_mode(self.model)
        if not self.position.batch:
            self.metrics.start_epoch()

    def clip_gradients(self, limit: float | None) -> None:
        """Clip the gradients to `limit`, if there is one, and note their norm before, as that of the last batch.

        It is not noted where the scaler of fp16 judges: it passes over steps that are no numbers by itself.
        """
        if self.scaler:
            self.scaler.unscale_(self.optimizer)
        norm = gradient_norm(self.model, limit)
        if norm is not None and not self.scaler:
            self.metrics.norm(self.position.batch - 1, norm)

    def update_weights(self) -> None:
        """Take the optimizer's step, with fp16 only where no gradient overflowed, and update the average."""
        if self.scaler:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()
        if self.average:
            self.average.after_step(self.position.step + 1, self.model)

    def finish_step(self) -> None:
        """Drop the gradients, and move the learning rate; then the state is whole."""
        self.optimizer.zero_grad(set_to_none=True)
        self.schedule.after_step()
        self.position.step += 1

    def stateful(self, state: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return what has a state of its own, by its name in a checkpoint. state: the checkpoint's, to be loaded."""
        found = {"model": self.model, "optimizer": self.optimizer, "schedule": self.schedule}
        found |= {"metrics": self.metrics, "average": self.average, "stopping": self.stopping}
        if state is None or "scaler" in state:  # one of another precision has none
            found["scaler"] = self.scaler
        if self.micro_batches and self.micro_batches.is_auto and (state is None or "pieces" in state):
            found["pieces"] = self.micro_batches
        return {name: part for name, part in found.items() if part is not None}

    def state_dict(self) -> dict[str, Any]:
        state = {name: part.state_dict() for name, part in self.stateful().items()}
        return state | self.position.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, part in self.stateful(state).items():
            part.load_state_dict(state[name])
        keep_layout(self.optimizer)
        self.position.load_state_dict(state)

    def gather_weights(self) -> None:
        """Give rank 0 this rank's shard of the weights, and of their average, if it has but a shard."""
        if self.is_sharded:
            self.model.state_dict()
            if self.average:
                self.average.model.state_dict()
