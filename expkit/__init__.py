"""expkit: config-driven experiments for image models on PyTorch.

From Python: `expkit.train(["model=resnet18", ...])` trains and returns the run, `expkit.load(run)` returns its model
with transforms and classes. Words of your own are registered through `expkit.registry`.
"""

from typing import TYPE_CHECKING, Any

from expkit.api import Run, TrainingFailed, load, train
from expkit.registry import ConfigError

if TYPE_CHECKING:
    from expkit.trained import Trained

__all__ = ["ConfigError", "Run", "Trained", "TrainingFailed", "load", "train"]


def __getattr__(name: str) -> Any:
    if name == "Trained":  # torch comes with it: not for --help
        from expkit.trained import Trained

        return Trained
    raise AttributeError(f"module 'expkit' has no attribute '{name}'")
