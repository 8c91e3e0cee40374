"""Early stopping: the run ends when its score has not improved for so many epochs."""

import math
from typing import Any


class EarlyStopping:
    """patience: epochs without improvement before the end; min_delta: what counts as one, in the score's units."""

    def __init__(self, patience: int, min_delta: float, higher_is_better: bool) -> None:
        self.patience, self.min_delta = patience, min_delta
        self.sign = 1.0 if higher_is_better else -1.0
        self.best: float | None = None
        self.since = 0  # epochs since the best score

    def after_epoch(self, score: float) -> None:
        """Take an epoch's score; NaN is no improvement."""
        if math.isfinite(score) and (self.best is None or self.sign * (score - self.best) > self.min_delta):
            self.best, self.since = score, 0
        else:
            self.since += 1

    @property
    def is_over(self) -> bool:
        return self.since >= self.patience

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "since": self.since}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.since = state["best"], state["since"]
