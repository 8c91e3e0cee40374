"""python -m expkit.run: trains what a config describes, and leaves a record."""

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from expkit.registry import ConfigError

Config = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Exit codes: 0 done, 1 the run failed, 2 a user's mistake, 130 Ctrl+C."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--list", nargs="*", dest="words", metavar="GROUP")
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE")
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

        launch(overrides, _check, lambda config, changed: train(config, changed, command))
    except ConfigError as error:
        _refuse(error)
    except KeyboardInterrupt:
        sys.exit(130)


def _check(config: Config) -> None:
    from expkit.assembly import check  # torch comes with it: not for --help

    check(config)


def _refuse(error: ConfigError) -> None:
    for fault in error.faults:
        print(f"error: {fault}", file=sys.stderr)
    sys.exit(2)


def train(config: Config, overrides: Sequence[str], command: str) -> None:
    """Assemble, train, and close the record, whatever happens."""
    from expkit import assembly

    began = time.perf_counter()
    try:
        assembly.check(config)
        job = assembly.assemble(config)
        run = _Opened(job, overrides, command)
    except ConfigError as error:
        _refuse(error)
    run.train(began)


class _Opened:
    """A job with its run folder, loggers and checkpoints: everything that writes."""

    def __init__(self, job: Any, overrides: Sequence[str], command: str) -> None:
        from expkit.assembly import open_checkpoints, open_loggers
        from expkit.loggers import ConsoleLogger, JsonlLogger, LoggerGuard, TextLogger
        from expkit.records import Record, make_run_folder

        self.job = job
        self.folder = make_run_folder(job.options.output_dir, job.name)
        self.record = Record(self.folder, job.config, overrides, command)
        self.record.data(job.splits)
        job.parts.checkpoints = open_checkpoints(job, self.folder)
        always = [ConsoleLogger(), TextLogger(self.folder / "log.txt"), JsonlLogger(self.folder / "metrics.jsonl")]
        self.logger = job.parts.logger = LoggerGuard([*always, *open_loggers(job.config, self.folder)])
        job.parts.train.report = lambda bad: self.bad_file("train", bad)
        job.parts.val.report = lambda bad: self.bad_file("val", bad)

    def train(self, began: float) -> None:
        from expkit.checkpoints import CheckpointNotWritten
        from expkit.data.decode import BadImage
        from expkit.data.loader import TooManyBad
        from expkit.loggers import RunFacts
        from expkit.training.runner import TrainingDiverged

        lines = {"run": self.folder.name, **self.job.lines}
        self.logger.start(RunFacts(self.folder.name, str(self.folder), self.job.config, lines, self.job.notes))
        status, reason = "failed", ""
        try:
            self.job.runner.run()
            self.job.close()
            status = "finished"
        except KeyboardInterrupt:
            status, reason = "interrupted", "Ctrl+C"
            sys.exit(130)
        except BadImage as error:
            remedy = "mend or remove the file, or set dataset.on_bad=skip or replace"
            reason = f"an image cannot be read: {error}; {remedy} (python -m expkit.doctor finds all such files)"
            sys.exit(1)
        except (TrainingDiverged, TooManyBad, CheckpointNotWritten, ConfigError) as error:
            reason = str(error)
            sys.exit(1)
        except Exception as error:
            failed = self.job.failure(error) if isinstance(error, RuntimeError) else None
            reason = str(failed) if failed else f"{type(error).__name__}: {error}"
            if failed:
                sys.exit(1)
            raise
        finally:
            try:
                with suppress(CheckpointNotWritten):  # it has been told, or what ended the run is
                    self.job.close()
            finally:  # also when a second Ctrl+C comes meanwhile
                self.close(status, reason, time.perf_counter() - began)

    def bad_file(self, split: str, bad: Any) -> None:
        """Name a sample that cannot be read, once, in the log and in the record's list."""
        data = getattr(self.job.splits, split)
        name = self.job.splits.listed_name(split, data.sample_name(bad.sample))
        self.record.bad_file(name, bad.reason)
        # In evaluation nothing stands in for another: the scores are those of fewer images.
        done = "replaced" if split == "train" and self.job.parts.train.samples.on_bad == "replace" else "left out"
        self.logger.message(f"warning: {done} in {split}: {bad.location}: {bad.reason}")

    def close(self, status: str, reason: str, seconds: float) -> None:
        from expkit.records.facts import relative, weights_digest

        runner, kept = self.job.runner, self.job.parts.checkpoints
        result = {"epochs": runner.epoch, "steps": runner.step, "scores": runner.scores, "seconds": seconds}
        result["weights_sha256"] = weights_digest(self.job.parts.model)
        summary = {status: f"{runner.epoch} epochs, {runner.step:,} steps, {seconds:.1f} s"}
        if reason:
            summary["reason"] = reason
        summary |= {name: f"{value:.4f}" for name, value in runner.scores.items()} | self.job.data_lines()
        if kept and kept.best:
            result |= {"best": kept.best.name, "best_score": kept.best_score, "monitor": kept.monitor}
            summary[f"best val/{kept.monitor}"] = f"{kept.best_score:.4f}  {relative(kept.best)}"
        if kept and kept.last:
            summary["last"] = relative(kept.last)
        summary["record"] = relative(self.folder)
        if "tensorboard" in self.job.config["logger"]:
            summary["see it"] = f"tensorboard --logdir {self.job.options.output_dir}"
        self.logger.close(summary)
        self.record.close(status, result, reason)


if __name__ == "__main__":
    main()
