"""The checkpoints of a run as a rank sees them that writes none."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from expkit.checkpoints.keep import Checkpoints


class FollowedCheckpoints(Checkpoints):
    """Knows when rank 0 writes, and does nothing then."""

    def __init__(self, folder: Path, monitor: str, every: int, every_steps: int | None) -> None:
        self.folder, self.monitor, self.every, self.every_steps = folder, monitor, every, every_steps
        self.kept, self.best_score = [], None

    def save(self, state: Mapping[str, Any], facts: Mapping[str, Any], scores: Mapping[str, float]) -> bool:
        return False

    def go_on(self, facts: Mapping[str, Any]) -> None:
        pass

    def wait(self) -> None:
        pass

    def close(self) -> None:
        pass
