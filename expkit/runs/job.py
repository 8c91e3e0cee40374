"""A run before it begins: its config and the objects built from it."""

from dataclasses import dataclass, field
from typing import Any

from expkit.config.registry import datasets
from expkit.config.run_options import RunOptions
from expkit.core.formatting import count_noun, subset_of
from expkit.data.batches import BadSample
from expkit.data.cache import Kind
from expkit.data.dataset import Splits
from expkit.data.loader import Loader
from expkit.data.workers import WorkerFailed
from expkit.devices.device import available_cores
from expkit.runs.resume import Origin, run_name
from expkit.runs.setup import Config
from expkit.training.trainer import Trainer

_WAITING_WORTH_A_NOTE = 0.1  # share of the time


@dataclass
class Job:
    """What is built before the run folder exists, so that a failure leaves nothing behind.

    lines: the heading of the run. notes: sentences for the user.
    """

    config: Config
    options: RunOptions
    splits: Splits
    trainer: Trainer
    origin: Origin
    lines: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def end_at(self, last_step: int | None) -> None:
        """End the run after a step; the schedule stays that of the whole run."""
        if last_step is not None:
            self.trainer.stop_at(min(self.trainer.length.last_step, last_step))

    @property
    def loaders(self) -> dict[str, Loader]:
        return {"train": self.trainer.train_loader, "val": self.trainer.evaluator.loader}

    def close(self) -> None:
        """End the loaders' workers, and wait for the last checkpoint. Raises CheckpointNotWritten."""
        for loader in self.loaders.values():
            loader.close()
        if checkpoints := self.trainer.observers.checkpoints:
            checkpoints.close()

    def failure(self, error: RuntimeError) -> WorkerFailed | None:
        """Return the failure if the error is due to a loader's worker; torch raises such errors anywhere."""
        return next(filter(None, (loader.failure(error) for loader in self.loaders.values())), None)

    def bad_of_other_ranks(self) -> list[tuple[str, BadSample]]:
        """Return the samples that other ranks could not read, by split. All ranks must call it."""
        if not (ranks := self.trainer.step.ranks):
            return []
        own: list[tuple[Any, ...]] = [
            (split, *bad) for split, loader in self.loaders.items() for bad in loader.bad.values()
        ]
        others = [found for rank, found in enumerate(ranks.collect(own)) if rank != ranks.rank]
        return [(split, BadSample(*bad)) for found in others for split, *bad in found]

    def data_lines(self) -> dict[str, str]:
        """Return the summary's lines on data: unreadable images, and time spent waiting with advice."""
        lines = {}
        for split, loader in self.loaders.items():
            if loader.bad:
                total = len(loader.samples.dataset)
                lines[f"bad in {split}"] = f"{len(loader.bad)} of {count_noun(total, 'sample')} cannot be read"
        clock = self.trainer.clock
        share = clock.waited / clock.worked if clock.worked else 0.0
        if share >= _WAITING_WORTH_A_NOTE:
            data, loader = datasets.shared(self.config["dataset"]), self.trainer.train_loader
            could_decode_region = loader.samples.crops_first and data.decoder == "auto"
            advice = waiting_advice(loader.options.num_workers, available_cores(), data.cache, could_decode_region)
            lines["data"] = f"{share:.0%} of the time was spent waiting for images; {advice}"
        return lines

    @property
    def directions(self) -> dict[str, bool]:
        """Of the scores that are no task's own, whether higher is better; compare asks for it."""
        found = {**self.trainer.observers.watch.directions, **self.trainer.evaluator.metrics.of_config}
        return {name: higher for name, higher in found.items() if higher is not None}

    @property
    def subset(self) -> str:
        """The part of the validation images that was scored, "" for all of them."""
        return subset_of(self.config, len(self.splits.val)) if self.splits.val is not None else ""

    @property
    def name(self) -> str:
        """The beginning of the run folder's name."""
        return run_name(self.config)


def waiting_advice(num_workers: int, cores: int, cache: Kind, could_decode_region: bool) -> str:
    """Return advice for a run that waits for images, the most helpful first."""
    advice = []
    if num_workers < cores:
        advice.append(f"dataset.num_workers={cores} uses every core")
    if cache == "none":
        advice.append("dataset.cache=memory (or disk) decodes each image once")
        if could_decode_region:
            advice.append("dataset.decoder=region decodes only what a random crop keeps")
    return "try: " + "; ".join(advice) if advice else "smaller or fewer transforms, or more cores, would help"
