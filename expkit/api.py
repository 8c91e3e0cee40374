"""Training and loading from Python: in a script, or in a notebook."""

import shlex
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from expkit.inference import Trained


class TrainingFailed(Exception):
    """A run that began and did not end well; the text is the reason in its record. run: what it left behind."""

    def __init__(self, run: "Run", reason: str) -> None:
        super().__init__(reason)
        self.run = run


@dataclass(frozen=True)
class Run:
    """A run folder. scores: of its last epoch, e.g. `val/accuracy`; status: finished, failed or interrupted."""

    folder: Path
    status: str
    scores: dict[str, float]

    def load(self, checkpoint: Literal["best", "last", "newest"] = "best", device: str = "auto") -> "Trained":
        """Return the run's trained model. Raises ConfigError."""
        return load(self, checkpoint, device)


def load(
    run: Run | str | Path,
    checkpoint: Literal["best", "last", "newest"] = "best",
    device: str = "auto",
    precision: str | None = None,
    plugins: Sequence[str] = (),
) -> "Trained":
    """Return the trained model of a run, a run folder or a checkpoint: `.model`, `.transforms`, `.classes`, `.predict`.

    checkpoint: which one of a run; "newest" is the last. device: auto, cpu or gpu. precision: fp32, tf32 or bf16, None
    for the run's own. plugins: Python files that register names of your own, as with `--plugin`. Raises ConfigError.
    Nothing in a checkpoint is executed.
    """
    from expkit.config.plugins import load_plugins
    from expkit.inference import load_trained

    load_plugins(plugins)
    return load_trained(run.folder if isinstance(run, Run) else run, checkpoint, device, precision)


def train(overrides: Sequence[str] = (), plugins: Sequence[str] = ()) -> Run:
    """Train what the overrides describe, e.g. ["model=resnet18", "dataset.root=photos"], and return the run.

    overrides, plugins: as typed after `python -m expkit.run`. The run folder and the progress display are the same.
    Raises ConfigError before anything is written, TrainingFailed, and KeyboardInterrupt once the record is closed.
    """
    from expkit.config.compose import compose_one, plain
    from expkit.config.plugins import load_plugins
    from expkit.runs.check import check
    from expkit.runs.train import open_run

    began = time.perf_counter()
    load_plugins(plugins)
    named = [word for file in plugins for word in ("--plugin", file)]
    command = shlex.join(["python", "-m", "expkit.run", *named, *overrides])
    config = check(plain(compose_one(list(overrides))))
    if several := _train_by_ranks(config, overrides, command):
        return several
    opened = open_run(config, overrides, command)
    if isinstance(opened, Path):  # checkpoint.resume of a run that is finished
        return _read(opened)[0]
    ending = opened.train(began)
    run, reason = _read(opened.folder)
    if ending.status == "interrupted":
        raise KeyboardInterrupt
    if ending.code:
        raise TrainingFailed(run, reason)
    return run


def _train_by_ranks(config: dict[str, Any], overrides: Sequence[str], command: str) -> Run | None:
    """Train in as many processes as the device asks for; None where it is this one alone."""
    from expkit.core.errors import ConfigError
    from expkit.devices.process_group import given_ranks
    from expkit.runs import multi_process

    if (layout := multi_process.layout_of(config)) is None:
        return None
    if given_ranks():
        raise ConfigError("device.name: under torchrun use python -m expkit.run; expkit.train starts ranks of its own")
    if layout.nodes > 1:
        raise ConfigError("device.name: multi_node is for the command line, the same command on each machine")
    if threading.current_thread() is not threading.main_thread():
        raise ConfigError(f"device.name: {config['device']['name']} starts processes, from the main thread only")
    code, cause, folder = multi_process.launch_ranks(config, overrides, command, layout)
    begun = (folder / "record.json").is_file()
    if code == 2 and not begun:
        raise ConfigError(*cause.split("; "))
    run, reason = _read(folder) if begun else (Run(folder, "failed", {}), "")
    if run.status == "running":  # the rank that writes the record was killed
        run = replace(run, status="failed")
    if run.status == "interrupted" or code > 128:
        raise KeyboardInterrupt
    if code:
        raise TrainingFailed(run, reason or cause)
    return run


def _read(folder: Path) -> tuple[Run, str]:
    """Return a run as its record tells of it, and the reason why it ended, if it has one."""
    from expkit.records.run_folder import RunFolder

    run = RunFolder(folder)
    return Run(folder, run.status, dict(run.result.get("scores", {}))), str(run.record.get("reason", ""))
