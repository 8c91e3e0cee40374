"""An open run: its folder, record, loggers and checkpoints, until its outcome is recorded."""

import copy
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from expkit.checkpoints.writer import CheckpointNotWritten
from expkit.config.plugins import loaded_files
from expkit.core.errors import ConfigError
from expkit.core.escaping import as_override, one_line, shortened
from expkit.core.files import disk_fault, parse_object, write_bytes, writing
from expkit.core.formatting import count_noun, relative
from expkit.core.lock import FolderLock
from expkit.core.run_folder import make_run_folder
from expkit.loggers.base import RunFacts
from expkit.loggers.console import ConsoleLogger
from expkit.loggers.jsonl import JsonlLogger
from expkit.loggers.text import TextLogger
from expkit.records.compatibility import data_changes
from expkit.records.environment import DataFacts, data_facts, weights_digest
from expkit.records.writer import EventLog, Record
from expkit.runs.build import open_checkpoints, open_loggers
from expkit.runs.job import Job
from expkit.runs.outcome import RunOutcome, outcome_of
from expkit.runs.resume import Origin


class RunSession:
    """A job with all that writes: run folder, loggers, checkpoints. folder: of a new run, None to make one."""

    def __init__(self, job: Job, overrides: Sequence[str], command: str, folder: Path | None = None) -> None:
        self.job, origin = job, job.origin
        data = data_facts(job.splits)
        changes = _data_changes(job, data)  # before anything is written
        self.signals = ExitStack()  # from here on a signal ends the run instead of the process, so the record is whole
        self.signals.enter_context(job.trainer.observers.interruption.heard())
        self.folder = origin.folder or folder or make_run_folder(job.options.output_dir, job.name)
        try:
            self._begin(overrides, command, data, changes)
        except OSError as error:
            self.signals.close()
            if lock := getattr(self, "lock", None):
                lock.release()
            if not origin.folder:  # nothing was trained: remove the incomplete folder
                shutil.rmtree(self.folder, ignore_errors=True)
            if sentence := disk_fault(error):
                raise ConfigError(sentence) from error
            raise

    def _begin(self, overrides: Sequence[str], command: str, data: DataFacts, changes: Sequence[str]) -> None:
        """Lock the folder, start or reopen its record, and open loggers and checkpoints."""
        job, origin = self.job, self.job.origin
        self.lock = origin.lock or FolderLock(self.folder)
        self.record = (
            Record.reopen(self.folder, job.config, command, step=job.trainer.state.position.step)
            if origin.folder
            else Record(self.folder, job.config, overrides, command)
        )
        self.record.data(job.splits, data, changes)
        job.notes += self.record.notes
        job.notes += [f"warning: the data differ from those of the first start: {one}" for one in changes]
        self.checkpoints = open_checkpoints(
            job, self.folder, lambda path: self.record.event("checkpoint", file=path.name)
        )
        job.notes += keep_metrics(origin, self.folder / "metrics.jsonl")
        loggers = [ConsoleLogger(), TextLogger(self.folder / "log.txt"), JsonlLogger(self.folder / "metrics.jsonl")]
        loggers += [EventLog(self.record), *open_loggers(job.config, self.folder)]
        job.trainer.observers.open(loggers, self.checkpoints)
        self.logger = job.trainer.observers.logger
        for split, loader in job.loaders.items():
            loader.report = partial(self.bad_file, split)

    def train(self, began: float) -> RunOutcome:
        """Run the job, close everything and return the outcome. Raises unexpected errors."""
        lines = {"run": self.folder.name, **self.job.lines}
        config = copy.deepcopy(self.job.config)  # a plain copy: a plugin's logger may change it
        facts = RunFacts(self.folder.name, str(self.folder), config, lines, [*map(shortened, self.job.notes)])
        self.logger.start(replace(facts, first_step=self.job.trainer.state.position.step))
        self.outcome = RunOutcome("failed", 1)
        self.digests: dict[str, str] = {}
        with self.signals:
            try:
                self.job.trainer.run()
                self.job.close()
                for split, bad in self.job.bad_of_other_ranks():
                    self.bad_file(split, bad)
                if self.job.trainer.state.is_sharded:
                    self.digests = digests_of(self.job)
                self.outcome = RunOutcome("finished", 0)
            except BaseException as error:
                self.outcome = outcome_of(error, self.job)
                if not self.outcome.is_explained:
                    raise
            finally:
                try:
                    with suppress(CheckpointNotWritten):  # it was reported already, or another error was
                        self.job.close()
                finally:  # also after a second Ctrl+C
                    self.close(time.perf_counter() - began)
        return self.outcome

    def bad_file(self, split: str, bad: Any) -> None:
        """Report a sample that cannot be read, in the log and in the record's list."""
        data = getattr(self.job.splits, split)
        name = self.job.splits.listed_name(split, data.sample_name(bad.sample))
        try:
            self.record.bad_file(name, bad.reason)
        except OSError as error:  # the next one writes all of them
            self.logger.message(f"warning: {disk_fault(error) or error}")
        # Evaluation never replaces an image: its scores are of fewer images.
        is_replaced = split == "train" and self.job.loaders["train"].samples.on_bad == "replace"
        done = "replaced" if is_replaced else "left out"
        self.logger.message(f"warning: {done} in {split}: {bad.location}: {bad.reason}")

    def close(self, seconds: float) -> None:
        position, kept = self.job.trainer.state.position, self.checkpoints
        result = {"epochs": position.epoch, "steps": position.step, "scores": position.scores, "seconds": seconds}
        # After a failure of a rank the others do not respond: no collective operations here.
        result |= self.digests if self.job.trainer.state.is_sharded else digests_of(self.job)
        if directions := self.job.directions:
            result["directions"] = directions
        if (micro_batches := self.job.trainer.step.micro_batches) and micro_batches.size:
            result["micro_batch"] = micro_batches.size
        epochs, steps = count_noun(position.epoch, "epoch"), count_noun(position.step, "step")
        summary = {self.outcome.status: f"{epochs}, {steps}, {seconds:.1f} s"}
        if self.outcome.reason:
            summary["reason"] = self.outcome.reason
        of_subset = f"  (of {subset})" if (subset := self.job.subset) else ""
        summary |= {
            name: f"{value:.4f}" + of_subset * name.startswith("val/") for name, value in position.scores.items()
        } | self.job.data_lines()
        if kept and kept.best:
            result |= {"best": kept.best.name, "best_score": kept.best_score, "monitor": kept.monitor}
            result["higher_is_better"] = self.job.trainer.observers.monitor.higher_is_better
            summary[f"best val/{kept.monitor}"] = f"{kept.best_score:.4f}{of_subset}  {relative(kept.best)}"
        if kept and kept.last:
            summary["last"] = relative(kept.last)
        summary |= {"record": relative(self.folder), "report": relative(self.folder / "report.html")}
        if self.outcome.status != "finished" and kept and kept.last:
            plugins = [word for file in loaded_files() for word in ("--plugin", relative(Path(file)))]
            resume = as_override("checkpoint.resume", relative(self.folder))
            summary["resume"] = f"{shlex.join(['python', '-m', 'expkit.run', *plugins])} {resume}"
        self.logger.close(summary)
        try:
            self.record.close(self.outcome.status, result, self.outcome.reason)
            self.report()
        except OSError as error:
            self._not_recorded(error)
        finally:
            self.lock.release()

    def _not_recorded(self, error: OSError) -> None:
        """Report that the record could not be closed; the checkpoints hold what was trained."""
        problem = disk_fault(error) or str(error)
        resume = as_override("checkpoint.resume", relative(self.folder))
        remedy = f"python -m expkit.run {resume} writes the record again"
        print(f"error: {one_line(problem)}; {remedy}", file=sys.stderr)
        if self.outcome.status == "finished":
            self.outcome = RunOutcome("failed", 1, problem)

    def report(self) -> None:
        """Write report.html. An error is reported and does not affect the run."""
        try:
            from expkit.records.report import write_report

            write_report(self.folder)
        except Exception as error:
            problem = disk_fault(error) or f"report.html was not written: {type(error).__name__}: {error}"
            print(f"warning: {one_line(problem)}", file=sys.stderr)


def digests_of(job: Job) -> dict[str, str]:
    """Return digests of the weights and of their average. With sharded weights all ranks must call it."""
    state = job.trainer.state
    found = {"weights_sha256": weights_digest(state.model)}
    return found | ({"average_sha256": weights_digest(state.average.model)} if state.average else {})


def _data_changes(job: Job, data: DataFacts) -> list[str]:
    """Return how the data differ from the resumed run's. Raises ConfigError without force."""
    origin = job.origin
    folder = origin.folder or (origin.path.parent.parent if origin.path and origin.state is not None else None)
    changes = data_changes(folder, *data)
    if changes and origin.state is not None and not job.config["checkpoint"].get("force"):
        raise ConfigError(
            *(f"checkpoint.resume: the data differ from those of {folder}: {change}; the result will differ too,"
              " and checkpoint.force=true resumes anyway" for change in changes)
        )  # fmt: skip
    return changes


def keep_metrics(origin: Origin, path: Path) -> list[str]:
    """Truncate the file of points to the checkpoint's; return notes. A file that lost earlier points keeps the rest."""
    size, step = (origin.state["metrics_bytes"], origin.state["step"]) if origin.state else (0, 0)
    try:
        content = origin.metrics.read_bytes() if origin.metrics and size else b""
    except FileNotFoundError:
        content = b""
    kept = content[:size]
    notes = []
    lines = kept.splitlines(keepends=True)
    steps = {number: parse_object(line).get("step") for number, line in enumerate(lines)}
    whole = {number: at for number, at in steps.items() if isinstance(at, int) and at <= step}
    if len(kept) < size or len(whole) < len(lines):
        kept = b"".join(lines[number] for number in whole)
        last = [0, *whole.values()][-1]
        notes.append(f"warning: metrics.jsonl had lost points of the steps up to {step}: {len(whole):,} are left,"
                     f" the last of step {last}")  # fmt: skip
    if notes or (kept and not origin.folder):
        write_bytes(path, kept)
    elif origin.folder:
        with writing(path), open(path, "ab") as file:
            file.truncate(len(kept))
    return notes
