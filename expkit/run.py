"""python -m expkit.run: trains what a config describes, and leaves a record."""

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from expkit.registry import ConfigError

Config = dict[str, Any]
Prepare = Callable[[Any], None]  # takes the Job before its run folder is made


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Exit codes: 0 done, 1 the run failed, 2 a user's mistake, 130 Ctrl+C."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--list", nargs="*", dest="words", metavar="GROUP")
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE")
    for flag in ("--dry", "--new", "--frozen"):
        parser.add_argument(flag, action="store_true")
    own, overrides = parser.parse_known_args(given)
    command = shlex.join(["python", "-m", "expkit.run", *given])
    try:
        from expkit.plugins import load_plugins

        load_plugins(own.plugin)
        if own.words is not None:
            from expkit.listing import show

            show(own.words)
            return
        from expkit.config import launch

        flags = {flag: getattr(own, flag) for flag in ("dry", "new", "frozen")}
        sweep = _Sweep(command, flags, partial(_sweep_job, plugins=own.plugin))
        runs: list[Path] = []
        try:
            job = partial(_score, command=command, plugins=own.plugin, runs=runs)
            launch(overrides, _check, job, sweep, own.dry)
        finally:
            sweep.close()
        if len(runs) > 1:
            from expkit.folds import show_folds

            show_folds(runs)
        if sweep.code:
            sys.exit(sweep.code)
    except ConfigError as error:
        _refuse(error)
    except KeyboardInterrupt:
        sys.exit(130)


def _check(config: Config) -> None:
    from expkit.assembly import check  # torch comes with it: not for --help

    check(config)


class _Sweep:
    """The jobs of a sweep, run side by side; what it needs is imported when there are some."""

    def __init__(self, command: str, flags: dict[str, bool], train: Callable[[Config, list[str]], object]) -> None:
        self.command, self.flags, self.train = command, flags, train
        self._run: Any = None

    def __call__(self, plan: Any) -> Sequence[float | None]:
        from expkit.sweeps import SweepFlags, SweepRun

        self._run = self._run or SweepRun(self.train, self.command, SweepFlags(**self.flags))
        scores: Sequence[float | None] = self._run(plan)
        return scores

    def close(self) -> None:
        if self._run:
            self._run.close()

    @property
    def code(self) -> int:
        return self._run.code if self._run else 0


def _sweep_job(config: Config, overrides: list[str], plugins: Sequence[str]) -> None:
    """Run one job of a sweep, in a process of its own; its record says how to run it alone."""
    from expkit.plugins import load_plugins

    load_plugins(plugins)  # a process that is spawned, not forked, does not know them
    given = [word for file in plugins for word in ("--plugin", file)]
    train(config, overrides, shlex.join(["python", "-m", "expkit.run", *given, *overrides]))


def _score(
    config: Config, overrides: Sequence[str], command: str, plugins: Sequence[str], runs: list[Path]
) -> float | None:
    """Train, and add the run's folder to runs; returns the best score of checkpoint.monitor, for sweepers to search by.

    plugins: files of --plugin, which a process of a launcher does not know yet.
    """
    from expkit.plugins import load_plugins

    load_plugins(plugins)
    folder = train(config, overrides, command)
    runs.append(folder)
    from expkit.sweeps.results import score_of

    return score_of(folder)


def _refuse(error: ConfigError) -> NoReturn:
    for fault in error.faults:
        print(f"error: {fault}", file=sys.stderr)
    sys.exit(2)


def train(config: Config, overrides: Sequence[str], command: str, prepare: Prepare | None = None) -> Path:
    """Assemble, train, and close the record, whatever happens; prepare: takes the Job first. Returns the run folder."""
    began = time.perf_counter()
    try:
        run = open_run(config, overrides, command, prepare)
    except ConfigError as error:
        _refuse(error)
    if isinstance(run, Path):
        print(f"{run}: this run is finished; nothing is left to do")
        return run
    run.train(began)
    return run.folder


def open_run(
    config: Config, overrides: Sequence[str], command: str, prepare: Prepare | None = None
) -> "_Opened | Path":
    """Check and assemble a config and open its run folder, or return that of a finished run. Raises ConfigError."""
    from expkit import assembly
    from expkit.resuming import find_origin

    assembly.check(config)
    origin = find_origin(config)
    if origin.is_finished:
        assert origin.lock is not None
        assert origin.folder is not None
        origin.lock.release()
        return origin.folder
    job = assembly.assemble(config, origin)
    if prepare:
        prepare(job)
    return _Opened(job, overrides, command)


class _Opened:
    """A job with its run folder, loggers and checkpoints: everything that writes."""

    def __init__(self, job: Any, overrides: Sequence[str], command: str) -> None:
        from expkit.assembly import open_checkpoints, open_loggers
        from expkit.checkpoints import FolderLock
        from expkit.loggers import ConsoleLogger, JsonlLogger, LoggerGuard, TextLogger
        from expkit.records import EventLog, Record, make_run_folder

        self.job, origin = job, job.origin
        self.signals = ExitStack()  # from here on a signal ends the run, and not the process in the midst of the record
        self.signals.enter_context(job.parts.interruption.heard())
        self.folder = origin.folder or make_run_folder(job.options.output_dir, job.name)
        self.lock = origin.lock or FolderLock(self.folder)
        self.record = (
            Record.reopen(self.folder, job.config, command, step=job.runner.step)
            if origin.folder
            else Record(self.folder, job.config, overrides, command)
        )
        self.record.data(job.splits)
        job.parts.checkpoints = open_checkpoints(job, self.folder)
        _keep_metrics(origin, self.folder / "metrics.jsonl")
        if job.parts.checkpoints:
            job.parts.checkpoints.written = lambda path: self.record.event("checkpoint", file=path.name)
        always = [ConsoleLogger(), TextLogger(self.folder / "log.txt"), JsonlLogger(self.folder / "metrics.jsonl")]
        always.append(EventLog(self.record))
        self.logger = job.parts.logger = LoggerGuard([*always, *open_loggers(job.config, self.folder)])
        job.parts.train.report = lambda bad: self.bad_file("train", bad)
        job.parts.val.report = lambda bad: self.bad_file("val", bad)

    def train(self, began: float) -> None:
        from expkit.checkpoints import CheckpointNotWritten
        from expkit.ending import Ending, ending_of
        from expkit.loggers import RunFacts

        lines = {"run": self.folder.name, **self.job.lines}
        facts = RunFacts(self.folder.name, str(self.folder), self.job.config, lines, self.job.notes)
        self.logger.start(replace(facts, first_step=self.job.runner.step))
        self.ending = Ending("failed", 1)
        with self.signals:
            try:
                self.job.runner.run()
                self.job.close()
                self.ending = Ending("finished", 0)
            except BaseException as error:
                self.ending = ending_of(error, self.job)
                if not self.ending.is_told:
                    raise
            finally:
                try:
                    with suppress(CheckpointNotWritten):  # it has been told, or what ended the run is
                        self.job.close()
                finally:  # also when a second Ctrl+C comes meanwhile
                    self.close(time.perf_counter() - began)
        if self.ending.code:
            sys.exit(self.ending.code)

    def bad_file(self, split: str, bad: Any) -> None:
        """Name a sample that cannot be read, once, in the log and in the record's list."""
        data = getattr(self.job.splits, split)
        name = self.job.splits.listed_name(split, data.sample_name(bad.sample))
        self.record.bad_file(name, bad.reason)
        # In evaluation nothing stands in for another: the scores are those of fewer images.
        done = "replaced" if split == "train" and self.job.parts.train.samples.on_bad == "replace" else "left out"
        self.logger.message(f"warning: {done} in {split}: {bad.location}: {bad.reason}")

    def close(self, seconds: float) -> None:
        from expkit.records.facts import relative, weights_digest

        runner, kept = self.job.runner, self.job.parts.checkpoints
        result = {"epochs": runner.epoch, "steps": runner.step, "scores": runner.scores, "seconds": seconds}
        result["weights_sha256"] = weights_digest(self.job.parts.model)
        if average := self.job.parts.average:
            result["average_sha256"] = weights_digest(average.model)
        summary = {self.ending.status: f"{runner.epoch} epochs, {runner.step:,} steps, {seconds:.1f} s"}
        if self.ending.reason:
            summary["reason"] = self.ending.reason
        summary |= {name: f"{value:.4f}" for name, value in runner.scores.items()} | self.job.data_lines()
        if kept and kept.best:
            result |= {"best": kept.best.name, "best_score": kept.best_score, "monitor": kept.monitor}
            summary[f"best val/{kept.monitor}"] = f"{kept.best_score:.4f}  {relative(kept.best)}"
        if kept and kept.last:
            summary["last"] = relative(kept.last)
        summary |= {"record": relative(self.folder), "report": relative(self.folder / "report.html")}
        if self.ending.status != "finished" and kept and kept.last:
            summary["go on"] = f"the same command with checkpoint.resume={relative(self.folder)}"
        self.logger.close(summary)
        self.record.close(self.ending.status, result, self.ending.reason)
        self.report()
        self.lock.release()

    def report(self) -> None:
        """Write report.html; whatever goes wrong in it is told and changes nothing of the run."""
        try:
            from expkit.report import write_report

            write_report(self.folder)
        except Exception as error:
            print(f"warning: report.html was not written: {type(error).__name__}: {error}", file=sys.stderr)


def _keep_metrics(origin: Any, path: Path) -> None:
    """Bring the file of points to where the checkpoint was written: later ones are made anew."""
    size = origin.state["metrics_bytes"] if origin.state else 0
    kept = origin.metrics.read_bytes()[:size] if origin.metrics and origin.metrics.is_file() else b""
    if origin.folder:
        with open(path, "ab") as file:
            file.truncate(len(kept))
    elif kept:
        path.write_bytes(kept)


if __name__ == "__main__":
    main()
