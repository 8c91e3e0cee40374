"""expkit: config-driven experiments for image models on PyTorch.

From Python: `expkit.train(["model=resnet18", ...])` trains and returns the run, `expkit.load(run)` returns its model
with transforms and classes. What a plugin needs is in `expkit.extend`.
"""

import os
from typing import TYPE_CHECKING, Any

from expkit.api import Run, TrainingFailed, load, train
from expkit.core.errors import ConfigError

if TYPE_CHECKING:
    from expkit.inference import Trained

# Of torch's threads that share an operation, those that are done spin 300,000 times before they sleep, on cores that
# the others may need: beside other work a run took many times as long (tests/bench/busy.py). A thousand is what libgomp
# has for waiting actively with more threads than cores. Torch's import reads it, and a plugin may import torch before
# any command does: so it is set here.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

__all__ = ["ConfigError", "Run", "Trained", "TrainingFailed", "load", "train"]


def __getattr__(name: str) -> Any:
    if name == "Trained":  # torch comes with it: not for --help
        from expkit.inference import Trained

        return Trained
    if name == "__version__":
        from expkit.core.version import package_version

        return package_version()
    raise AttributeError(f"module 'expkit' has no attribute '{name}'")
