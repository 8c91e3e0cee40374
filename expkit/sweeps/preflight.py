"""Every job of a sweep, assembled once before the first one starts: what would fail at night is reported now.

It runs in a process of its own: this one, from which the jobs are forked, must compute nothing with torch, and gets
its memory back afterwards.
"""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

import torch

from expkit.config.checked import CheckedConfig
from expkit.config.plan import fault_of_jobs
from expkit.core.child_process import signals_wait
from expkit.core.errors import ConfigError
from expkit.core.formatting import count_noun
from expkit.data.dataset import Splits
from expkit.data.datasets import load
from expkit.devices.device import share_cores
from expkit.runs.build import build
from expkit.runs.check import check
from expkit.runs.job import Job
from expkit.runs.setup import Basis, build_basis
from expkit.sweeps.pool import START_METHOD
from expkit.sweeps.scales import images_of, scale_of
from expkit.tasks.task import build_task
from expkit.training.non_finite import TrainingDiverged
from expkit.training.train_state import Position, RunLength
from expkit.training.trainer import Trainer

Config = Mapping[str, Any]

_COSTLY = ("dataset", "transforms", "model", "device", "optimizer", "batch_size", "accumulate_steps")
_STEPS = 4  # that an estimate rests on, the first, which is slow, left out
_STARTING = 1.0  # seconds that a run takes beside its steps: reading the data's list, writing its record


@dataclass(frozen=True)
class Facts:
    """What is known of an assembled job. seconds: estimated on its share of the machine alone, None if not asked.

    scale: equal for jobs whose scores may be compared.
    """

    monitor: str
    higher: bool
    parameters: int = 0
    steps: int = 0
    seconds: float | None = None
    scale: str = ""


def preflight(
    configs: Sequence[Config], cores: int, measure: bool, tick: Callable[[], None] = lambda: None
) -> tuple[list[Facts], int]:
    """Assemble every job; return the facts of each, and the number of GPUs.

    cores: those of a job. tick: is called for each that is done. Raises ConfigError with the faults of all jobs.
    """
    context: Any = multiprocessing.get_context(START_METHOD)
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_preflight, args=(theirs, list(configs), cores, measure), daemon=False)
    with signals_wait():
        process.start()
    theirs.close()
    found: dict[int, Facts] = {}
    faults: dict[str, list[int]] = {}
    gpus = 0
    try:
        while (message := ours.recv()) is not None:
            number, result = message
            if number < 0:
                gpus = result
                continue
            if isinstance(result, Facts):
                found[number] = result
            else:
                faults |= {fault: [*faults.get(fault, []), number] for fault in result}
            tick()
        process.join()
    except EOFError:
        process.join()
        raise ConfigError(_broken(process.exitcode, len(found))) from None
    except BaseException:
        process.kill()
        process.join()
        raise
    if faults:
        raise ConfigError(*(fault_of_jobs(fault, numbers, len(configs)) for fault, numbers in faults.items()))
    return [found[number] for number in range(len(configs))], gpus


def _broken(code: int, done: int) -> str:
    ended = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    ended += f" after {count_noun(done, 'job')}"
    return f"sweep: the process that assembles each job once, as a check, {ended}; try them singly"


def _preflight(pipe: Connection, configs: list[Config], cores: int, measure: bool) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    share_cores(cores)
    assembler = _Assembler(measure)
    pipe.send((-1, torch.cuda.device_count()))
    # Jobs of one model come together, so that it is built once; none is kept longer.
    for number, config in sorted(enumerate(configs), key=lambda one: _key(one[1], "dataset", "transforms", "model")):
        try:
            pipe.send((number, assembler.assemble(config)))
        except ConfigError as error:
            pipe.send((number, list(error.faults)))
        except Exception as error:  # whatever it is, the run would fail of it too
            pipe.send((number, [f"{type(error).__name__}: {error}"]))
    pipe.send(None)
    pipe.close()
    os._exit(0)  # no loader's worker, and no thread of torch, is waited for


class _Assembler:
    """Assembles jobs, with what they have in common built once."""

    def __init__(self, measure: bool) -> None:
        self.measure = measure
        self._splits: dict[str, Splits | ConfigError] = {}
        self._basis: tuple[str, Basis] | None = None
        self._times: dict[str, tuple[float, float]] = {}
        self._evaluated: dict[str, str] = {}

    def assemble(self, config: Config) -> Facts:
        """Build all that a job is made of, as the job itself will. Raises ConfigError."""
        checked = check(config)
        splits = self._load(checked["dataset"])
        job = build(checked, splits=splits, basis=self._build_basis(checked, splits))
        if job.origin.lock:
            job.origin.lock.release()
        seconds = self._estimate(job) if self.measure else None
        trainer, monitor = job.trainer, job.trainer.observers.monitor
        parameters = sum(parameter.numel() for parameter in trainer.state.model.parameters())
        scale = scale_of(job.config, self._images(job), monitor.name)
        steps = trainer.length.last_step
        return Facts(monitor.name, monitor.higher_is_better, parameters, steps, seconds, scale)

    def _images(self, job: Job) -> str:
        key = _key(job.config, "dataset")
        if key not in self._evaluated:
            self._evaluated[key] = images_of(job.splits, job.config["dataset"])
        return self._evaluated[key]

    def _load(self, node: Config) -> Splits:
        key = _key({"dataset": node}, "dataset")
        if key not in self._splits:
            try:
                self._splits[key] = load(node)
            except ConfigError as error:
                self._splits[key] = error
        splits = self._splits[key]
        if isinstance(splits, ConfigError):
            raise splits
        return splits

    def _build_basis(self, config: CheckedConfig, splits: Splits) -> Basis:
        """Return transforms and model, those of the previous job where they are the same."""
        key = _key(config, "dataset", "task", "transforms", "model")
        if self._basis is None or self._basis[0] != key:
            self._basis = None  # its memory goes first
            task, splits = build_task(config["task"], splits)
            self._basis = (key, build_basis(config, splits, task, config.options.seed))
        return self._basis[1]

    def _estimate(self, job: Job) -> float:
        key = _key(job.config, *_COSTLY)
        if key not in self._times:
            self._times[key] = _measure(job.trainer)
        batch, evaluation = self._times[key]
        trainer, loader = job.trainer, job.trainer.evaluator.loader
        epochs = trainer.length.last_step / trainer.length.steps_per_epoch
        evaluated = min(len(loader), job.options.limit_eval_batches or len(loader))
        return _STARTING + epochs * (trainer.length.batches * batch + evaluated * evaluation)


def _measure(run: Trainer) -> tuple[float, float]:
    """Return the seconds of a training batch and of an evaluation batch, from a few of each."""
    batches = min(1 + _STEPS, len(run.train_loader))
    options = replace(run.options, limit_eval_batches=2, on_nan="stop", log_every=10**6)
    state = replace(run.state, average=None, position=Position())

    def shortened(batches: int) -> Trainer:
        length = RunLength(batches, batches, 10**18)
        return Trainer(state, run.step, run.train_loader, run.evaluator, run.observers, options, length)

    trainer, began = shortened(batches), time.perf_counter()
    try:
        shortened(1).train_epoch()
        began = time.perf_counter()
        if batches > 1:
            trainer.train_epoch()
        batch = (time.perf_counter() - began) / max(batches - 1, 1)
    except TrainingDiverged:
        batch = (time.perf_counter() - began) / _STEPS
    began = time.perf_counter()
    trainer.evaluate()
    evaluation = (time.perf_counter() - began) / 2
    run.train_loader.close()
    run.evaluator.loader.close()
    return batch, evaluation


def _key(config: Config, *groups: str) -> str:
    return json.dumps([config[group] for group in groups], sort_keys=True)
