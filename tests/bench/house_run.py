"""What a run of the command does, counted within its process: checks, calls of the registry, frames to a step.

python tests/bench/house_run.py NAMES FILE     is started by tests/bench/house.py: NAMES is JSON, the counts go to FILE
"""

import importlib
import importlib.util
import json
import os
import re
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

RUN = [
    "dataset.root=shapes", "dataset.size=28", "dataset.train_images=20", "dataset.val_images=10", "model=small_cnn",
    "dataset.num_workers=0", "model.width=4", "epochs=1", "batch_size=10", "device=cpu", "device.threads=1",
    "output_dir=runs",
]  # fmt: skip


class Probe:
    """Counts, in this process, what a run of the command does. It runs once."""

    def __init__(self, names: dict[str, Any], folder: Path) -> None:
        self.commands = names["commands"]
        self.is_check, self.registry = re.compile(names["checks"]), re.compile(names["registry"])
        self.prefix = f"{folder}{os.sep}"
        self.checks: Counter[str] = Counter()
        self.entered: Counter[str] = Counter()
        self.stacks: dict[str, list[str]] = {}

    def run(self) -> dict[str, Any]:
        module = next(name for name in self.commands if _is_there(name))
        main = importlib.import_module(module).main  # the package comes before torch: it sets torch's threads
        import torch

        self._watch(torch.Tensor, "backward")
        self._watch(torch.optim.Optimizer, "__init__")
        threading.setprofile(self._called)
        sys.setprofile(self._called)
        try:
            main(RUN)
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
        return {"checks": self.checks, "entered": self.entered, "stacks": self.stacks}

    def _watch(self, owner: Any, name: str) -> None:
        """Have a method keep the own frames of its first call."""
        original: Callable[..., Any] = getattr(owner, name)

        def watched(*given: Any, **named: Any) -> Any:
            self.stacks.setdefault(f"{owner.__name__}.{name}", self._own(sys._getframe(1)))
            return original(*given, **named)

        setattr(owner, name, watched)

    def _own(self, frame: FrameType | None) -> list[str]:
        """Return `file: function` of the package's own frames, the outermost first; comprehensions are none."""
        found = []
        while frame:
            code = frame.f_code
            if code.co_filename.startswith(self.prefix) and not code.co_name.endswith("comp>"):
                found.append(f"{code.co_filename.removeprefix(self.prefix)}: {code.co_qualname}")
            frame = frame.f_back
        return found[::-1]

    def _called(self, frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(self.prefix):
            return
        if self.is_check.fullmatch(code.co_qualname):
            given = frame.f_locals
            self.checks[given.get("path") or getattr(given.get("self"), "group", "") or code.co_qualname] += 1
        caller = frame.f_back.f_code.co_filename if frame.f_back else ""
        if self._is_registry(code.co_filename) and not self._is_registry(caller):
            self.entered[code.co_qualname] += 1

    def _is_registry(self, file: str) -> bool:
        return file.startswith(self.prefix) and bool(self.registry.search(file.removeprefix(self.prefix)))


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the folder that it would lie in is not there
        return False


def main() -> None:
    del sys.path[0]  # this folder: its scripts have names such as data and loggers
    names = json.loads(sys.argv[1])
    spec = importlib.util.find_spec(names["package"])
    counts = Probe(names, Path(spec.origin).parent).run()  # type: ignore[union-attr,arg-type]
    Path(sys.argv[2]).write_text(json.dumps(counts))


if __name__ == "__main__":
    main()
