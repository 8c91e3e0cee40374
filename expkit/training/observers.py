"""What looks on while a run trains, and computes nothing of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from expkit.checkpoints.manager import Checkpoints
from expkit.loggers.base import Logger
from expkit.loggers.hub import LoggerHub
from expkit.training.losses import Guessing
from expkit.training.metrics import Scores
from expkit.training.signals import Interruption
from expkit.training.watch import WatchDispatcher

if TYPE_CHECKING:
    from expkit.training.trainer import Trainer


@dataclass(frozen=True)
class Monitor:
    """The score that says which epoch is best, of validation where there are images for it."""

    name: str
    higher_is_better: bool


class Hook(Protocol):
    """What is called while a run trains."""

    def after_step(self, trainer: "Trainer") -> None:
        """Called after each update of the weights."""


@dataclass
class Observers:
    """What looks on while a run trains. checkpoints: None where none are written, as before `open`."""

    logger: LoggerHub
    watch: WatchDispatcher
    interruption: Interruption
    monitor: Monitor
    guessing: Guessing
    hooks: Sequence[Hook] = ()
    checkpoints: Checkpoints | None = None

    def open(self, loggers: Sequence[Logger], checkpoints: Checkpoints | None) -> None:
        """Begin to write, once all else has been built: only then is there a run folder."""
        self.logger.attach(loggers)
        self.checkpoints = checkpoints

    def scores_to_keep(self, evaluated: Scores) -> Scores:
        """Return the scores of an evaluation with what watchers measured in it, for checkpoints."""
        return {name.removeprefix("val/"): value for name, value in self.watch.measured.items()} | evaluated

    def monitored(self, evaluated: Scores) -> float:
        """Return the monitored score of an evaluation; NaN where this process has none."""
        return self.scores_to_keep(evaluated).get(self.monitor.name, math.nan)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint says of them: metrics.jsonl is cut back to here when a run is resumed."""
        self.logger.flush()
        return {"watched": dict(self.watch.pending), "metrics_bytes": self.logger.metrics_bytes()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.watch.pending = dict(state["watched"])
