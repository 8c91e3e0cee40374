"""A run before it begins: its config and the objects built from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from expkit.config.registry import datasets
from expkit.config.run_options import RunOptions
from expkit.core.formatting import count_noun, subset_of
from expkit.data.advice import WORTH_SAYING, waiting_advice
from expkit.data.batches import BadSample
from expkit.data.dataset import Splits
from expkit.data.workers import WorkerFailed
from expkit.devices.device import available_cores
from expkit.runs.resume import Origin, run_name
from expkit.training.step import Parts
from expkit.training.trainer import Trainer

Config = Mapping[str, Any]


@dataclass
class Job:
    """Everything that is built before a run folder exists: what fails here leaves nothing behind."""

    config: Config
    options: RunOptions
    splits: Splits
    parts: Parts
    runner: Trainer
    higher_is_better: bool
    origin: Origin
    lines: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def end_at(self, last_step: int | None) -> None:
        """End after so many steps; the schedule stays that of the whole run."""
        if last_step is not None:
            self.runner.last_step = min(self.runner.last_step, last_step)

    def close(self) -> None:
        """End the loaders' workers, and wait for the last checkpoint. Raises CheckpointNotWritten."""
        self.parts.train.close()
        self.parts.val.close()
        if self.parts.checkpoints:
            self.parts.checkpoints.close()

    def failure(self, error: RuntimeError) -> WorkerFailed | None:
        """Return what an error means if a worker of one of the loaders failed, which torch tells of at any moment."""
        return self.parts.train.failure(error) or self.parts.val.failure(error)

    def bad_of_other_ranks(self) -> list[tuple[str, BadSample]]:
        """Return the samples that other ranks could not read, by split; all ranks must ask."""
        if not (ranks := self.parts.ranks):
            return []
        loaders = (("train", self.parts.train), ("val", self.parts.val))
        own: list[tuple[Any, ...]] = [(split, *bad) for split, loader in loaders for bad in loader.bad.values()]
        others = [found for rank, found in enumerate(ranks.collect(own)) if rank != ranks.rank]
        return [(split, BadSample(*bad)) for found in others for split, *bad in found]

    def data_lines(self) -> dict[str, str]:
        """Return what a run's summary says of its data: images left out, time spent waiting and what would help."""
        lines = {}
        for split, loader in (("train", self.parts.train), ("val", self.parts.val)):
            if loader.bad:
                total = len(loader.samples.dataset)
                lines[f"bad in {split}"] = f"{len(loader.bad)} of {count_noun(total, 'sample')} cannot be read"
        runner, data = self.runner, datasets.shared(self.config["dataset"])
        share = runner.waited / runner.worked if runner.worked else 0.0
        if share >= WORTH_SAYING:
            crops = self.parts.train.samples.crops_first and data.decoder == "auto"
            advice = waiting_advice(self.parts.train.num_workers, available_cores(), data.cache, crops)
            lines["data"] = f"{share:.0%} of the time was spent waiting for images; {advice}"
        return lines

    @property
    def subset(self) -> str:
        """Of how many of the validation images the scores are, an empty text for all of them."""
        return subset_of(self.config, len(self.splits.val)) if self.splits.val is not None else ""

    @property
    def name(self) -> str:
        """What the run folder's name begins with."""
        return run_name(self.config)
