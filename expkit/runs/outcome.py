"""The outcome of a run: status, exit code, and advice on a failure."""

import math
import signal
import sys
from dataclasses import dataclass

import torch

from expkit.checkpoints.writer import CheckpointNotWritten
from expkit.core.errors import ConfigError
from expkit.core.files import disk_fault
from expkit.data.decode import BadImage
from expkit.data.loader import TooManyBad
from expkit.devices.oom import is_out_of_memory
from expkit.devices.process_group import is_lost_peer
from expkit.runs.job import Job
from expkit.training.non_finite import TrainingDiverged
from expkit.training.signals import EXIT_CODES, Interrupted


@dataclass(frozen=True)
class RunOutcome:
    """The outcome of a run. status: finished, interrupted or failed; code: of the process.

    is_explained: False for an unexpected error, which needs a traceback.
    """

    status: str
    code: int
    reason: str = ""
    is_explained: bool = True


def outcome_of(error: BaseException, job: Job) -> RunOutcome:
    """Return the outcome for an exception of the trainer."""
    if isinstance(error, Interrupted):
        return RunOutcome("interrupted", EXIT_CODES[signal.Signals(error.signal)], signal.Signals(error.signal).name)
    if isinstance(error, KeyboardInterrupt):
        return RunOutcome("interrupted", 130, "Ctrl+C, twice")
    if isinstance(error, BadImage):
        remedy = "repair or remove the file, or set dataset.on_bad=skip or replace"
        reason = f"an image cannot be read: {error}; {remedy} (python -m expkit doctor finds all such files)"
        return RunOutcome("failed", 1, reason)
    if isinstance(error, TrainingDiverged | TooManyBad | CheckpointNotWritten | ConfigError):
        return RunOutcome("failed", 1, str(error))
    if sentence := disk_fault(error):
        return RunOutcome("failed", 1, sentence)
    if is_out_of_memory(error):
        return RunOutcome("failed", 1, _memory_advice(job))
    if isinstance(error, RuntimeError) and (failed := job.failure(error)):
        return RunOutcome("failed", 1, str(failed))
    if isinstance(error, ValueError) and "more than 1 value per channel" in str(error):  # others could not be read
        remedy = "set dataset.drop_last=true, or dataset.on_bad=replace"
        return RunOutcome("failed", 1, f"a batch of one image reached batch normalisation, which needs more; {remedy}")
    if is_lost_peer(error):
        return RunOutcome("failed", 1, "another rank was lost", is_explained=False)
    return RunOutcome("failed", 1, f"{type(error).__name__}: {error}", is_explained=False)


def _memory_advice(job: Job) -> str:
    size, step, position = job.options.batch_size, job.trainer.step, job.trainer.state.position
    own = math.ceil(size / step.ranks.size) if step.ranks else size
    at_once = (step.micro_batches and step.micro_batches.size) or own
    device = step.device.torch_device
    if device.type == "cuda":
        peak, where = torch.cuda.max_memory_allocated(device), str(device)
    else:
        peak, where = _peak_memory(), "this process"
    used = f"; {where} had used {peak / 2**30:.2f} GiB at its peak" if peak else ""
    smaller = f"device.micro_batch={at_once // 2} computes the same batches in smaller parts"
    advice = smaller if at_once > 1 else "a batch cannot be smaller than one image: use a smaller model or image_size"
    return (
        f"memory ran out at step {position.step + 1} (epoch {position.epoch + 1}) with batch_size={size}{used};"
        f" {advice}; device.precision=bf16 or fewer dataset.num_workers also help"
    )


def _peak_memory() -> int:
    """Return the peak memory of this process in bytes, 0 on Windows."""
    if sys.platform == "win32":
        return 0
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
