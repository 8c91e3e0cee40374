"""The loop: epoch, batch, update; then evaluate, and keep a checkpoint."""

import math
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from expkit.checkpoints.writer import WeightsNotFinite
from expkit.config.run_options import RunOptions
from expkit.data.batches import Batch
from expkit.data.loader import Loader
from expkit.loggers.base import Point
from expkit.training.evaluation import Evaluator
from expkit.training.metrics import Scores
from expkit.training.non_finite import NonFinite, RollBack, not_finite
from expkit.training.observers import Observers
from expkit.training.signals import Interrupted
from expkit.training.step import TrainStep
from expkit.training.train_state import RunLength, TrainState


@dataclass
class Clock:
    """Where a run's time goes, in seconds."""

    wait: float = 0.0  # of this epoch, for data
    waited: float = 0.0  # of all epochs so far, for data
    worked: float = 0.0  # that they took
    interval_began: float = 0.0

    def start_epoch(self) -> None:
        self.wait, self.interval_began = 0.0, time.perf_counter()


class Trainer:
    """Trains and evaluates. `run` is the whole story; read on from there."""

    def __init__(
        self, state: TrainState, step: TrainStep, train_loader: Loader, evaluator: Evaluator, observers: Observers,
        options: RunOptions, length: RunLength,
    ) -> None:  # fmt: skip
        self.state, self.step, self.train_loader, self.evaluator = state, step, train_loader, evaluator
        self.observers, self.options, self.length = observers, options, length
        self.non_finite = NonFinite(options, state.metrics, train_loader, state.model)
        self.saved: tuple[int, int, int] | None = None  # the place of the last checkpoint
        self.clock = Clock()

    @property
    def is_over(self) -> bool:
        stopping = self.state.stopping
        return self.state.position.step >= self.length.last_step or (stopping is not None and stopping.is_over)

    def run(self) -> Scores:
        """Train to the end and return the last epoch's scores.

        Raises TrainingDiverged, and Interrupted, with a checkpoint written, after a signal that asks to end.
        """
        position, length = self.state.position, self.length
        self.observers.logger.progress.epochs = math.ceil(length.last_step / length.steps_per_epoch)
        if self.options.on_nan == "roll_back" and self.saved is None:
            self.save({})  # what the first steps can go back to
        self.observers.watch.begin(position.step, length.steps_per_epoch, length.last_step)
        while not self.is_over:
            try:
                began = time.perf_counter()
                trained = self.train_epoch()
                self.finish_epoch(trained, self.evaluate(), time.perf_counter() - began)
            except RollBack as asked:
                self.roll_back(asked)
            except Interrupted as asked:
                if asked.is_whole and self.saved != position.place:
                    with suppress(RollBack):  # then the last checkpoint is the one to resume from
                        self.save({})
                raise
        return position.scores

    def train_epoch(self) -> Scores:
        """Train on each batch of the epoch that is left; returns the mean loss and scores over its samples."""
        state, position, batches = self.state, self.state.position, self.length.batches
        every = self.options.accumulate_steps
        state.start_epoch()
        self.step.keys.start_epoch(position.epoch, batches)
        self.clock.start_epoch()
        for batch in self.batches_of("train", self.train_loader, position.batch, batches):
            window = min(every, batches - position.batch // every * every)  # the epoch's last may be shorter
            if position.batch % every == 0:
                self.non_finite.start_step()
            # A batch of which all files are unreadable is passed over, and one that made the loss NaN before.
            if (batch.total or len(batch.indices)) and (position.epoch, position.batch) not in position.skipped:
                state.metrics.update(position.batch, *self.step.run(batch, position, window))
            position.batch += 1
            if position.batch % every == 0 or position.batch == batches:
                self.update()
                if position.step == self.length.last_step:
                    break
        self.log_steps()
        return state.metrics.epoch()

    def update(self) -> None:
        """Clip the gradients, update the weights and the learning rate; then the state is whole."""
        state, position, options, observers = self.state, self.state.position, self.options, self.observers
        self.step.all_reduce_gradients()
        if position.step + 1 == observers.watch.next_step:
            observers.watch.before_update(position.epoch, position.step + 1)
        if options.clip_grad_norm is not None or options.on_nan != "stop":
            state.clip_gradients(options.clip_grad_norm)
        if warning := self.non_finite.skip_warning(position.epoch, position.step):
            observers.logger.message(warning)
        else:
            state.update_weights()
        observers.logger.progress.used(state.learning_rate)
        state.finish_step()
        if position.step % options.log_every == 0:
            self.log_steps()
        if observers.checkpoints and observers.checkpoints.due_at(position.step):
            self.save({})
        for hook in observers.hooks:
            hook.after_step(self)
        observers.interruption.check()

    def evaluate(self) -> Scores:
        """Return the scores over every validation sample, each counted once; those of the average if there is one."""
        average, position = self.state.average, self.state.position
        if average:
            average.before_evaluation(self.images_again)
        if not len(self.evaluator.loader):
            return {}
        batches = min(len(self.evaluator.loader), self.options.limit_eval_batches or len(self.evaluator.loader))
        found = self.batches_of("val", self.evaluator.loader, 0, batches)
        return self.evaluator.run(found, position.epoch, position.step, average.model if average else None)

    def images_again(self) -> Iterator[Tensor]:
        """Yield this epoch's training images once more, as the model sees them but unmixed; dropout is keyed."""
        for number, batch in enumerate(self.batches_of("statistics", self.train_loader, 0, self.length.batches)):
            if batch.total or len(batch.indices):
                self.step.device.seed(self.step.keys.statistics(self.state.position.epoch, number))
                yield self.step.images(batch)

    def batches_of(self, stage: str, loader: Loader, start: int, end: int) -> Iterator[Batch]:
        """Yield batches `start` to `end` of this epoch; keeps the progress, and the time spent waiting for data."""
        position, progress = self.state.position, self.observers.logger.progress
        progress.begin(stage, position.epoch, start, end)
        # Evaluation draws, if a user's transform draws at all, the same in every epoch.
        batches = loader.epoch(0 if stage == "val" else position.epoch, start)
        for _ in range(start, end):
            asked = time.perf_counter()
            is_whole = stage != "train" or position.batch % self.options.accumulate_steps == 0
            with self.observers.interruption.waiting(is_whole):
                batch = next(batches)
            self.clock.wait += time.perf_counter() - asked
            yield batch
            progress.done += 1

    def log_steps(self) -> None:
        """Read the sums since the last time, once, and log them. Raises TrainingDiverged, RollBack."""
        self.check_losses()
        state, position = self.state, self.state.position
        samples = state.metrics.count
        if not samples:
            return
        values = state.metrics.interval()
        now = time.perf_counter()
        values |= {"lr": state.learning_rate, "images_per_second": samples / (now - self.clock.interval_began)}
        values |= self.observers.watch.values()
        self.clock.interval_began = now
        self.observers.logger.point(Point("step", position.epoch, position.step, values))

    def check_losses(self) -> None:
        """Check that the losses since the last time were finite. Raises TrainingDiverged, RollBack."""
        epoch = self.state.position.epoch
        self.non_finite.check(epoch, epoch * self.length.steps_per_epoch)

    def roll_back(self, asked: RollBack) -> None:
        """Load the last checkpoint, to pass over the batch that made the loss NaN. Raises TrainingDiverged."""
        checkpoints, position, epoch = self.observers.checkpoints, self.state.position, self.state.position.epoch
        assert checkpoints is not None
        checkpoints.wait()
        ranks = self.step.ranks
        found = ranks.first_before_others(checkpoints.newest) if ranks else checkpoints.newest()
        self.non_finite.count_roll_back(asked, found is not None)
        assert found is not None
        self.load_state_dict(found.state)
        checkpoints.resume(found.facts)
        self.observers.logger.cut_metrics(found.state["metrics_bytes"], position.step)
        if asked.batch is not None:
            position.skipped.add((epoch, asked.batch))
        self.observers.logger.message(
            f"warning: {asked}; goes back to step {position.step}, and will pass over that batch"
        )

    def finish_epoch(self, trained: Scores, evaluated: Scores, seconds: float) -> None:
        """Log the epoch's scores, keep a checkpoint, and say so when nothing is being learned."""
        state, position, observers, clock = self.state, self.state.position, self.observers, self.clock
        scores = {f"train/{name}": value for name, value in trained.items()}
        scores |= {f"val/{name}": value for name, value in evaluated.items()}
        position.scores = scores | observers.watch.measured | scores  # at the end, and overriding none
        times = {"lr": state.learning_rate, "seconds": seconds}
        times |= {"images_per_second": state.metrics.epoch_count / seconds, "data_wait": clock.wait / seconds}
        clock.waited, clock.worked = clock.waited + clock.wait, clock.worked + seconds
        observers.logger.point(Point("epoch", position.epoch, position.step, position.scores | times))
        if warning := observers.guessing.warning(trained["loss"], evaluated.get("loss", math.nan), position.step):
            observers.logger.message(warning)
        if position.batch == self.length.batches:  # else max_steps has cut it short, and a longer run continues it
            position.next_epoch()
            score = self.monitored(evaluated or trained)  # there may be no validation images
            state.schedule.after_epoch(score)
            if state.stopping:
                state.stopping.after_epoch(score)
        if observers.checkpoints and observers.checkpoints.due_after(position.epoch, self.is_over):
            self.save(observers.scores_to_keep(evaluated) if evaluated else {})

    def monitored(self, evaluated: Scores) -> float:
        """Return the monitored score of an evaluation on every rank; NaN where a watcher has not measured it."""
        observers, ranks = self.observers, self.step.ranks
        score = observers.monitored(evaluated)
        if observers.monitor.name in evaluated:
            return score
        if math.isnan(score := float(ranks.from_first(repr(score))) if ranks else score):
            text = f"no watcher measured '{observers.monitor.name}' in this epoch, so it cannot be the best"
            observers.logger.message(f"warning: checkpoint.monitor: {text}")
        return score

    def save(self, scores: Scores) -> None:
        """Keep a checkpoint of this instant. scores: of its evaluation, none in the midst of an epoch."""
        checkpoints, position, ranks = self.observers.checkpoints, self.state.position, self.step.ranks
        if checkpoints is None:
            return
        self.check_losses()
        facts = self.state.facts | {"epoch": position.epoch, "batch": position.batch, "step": position.step}
        state, problem = self.state_dict(), ""
        try:
            checkpoints.save(state, facts, scores)
        except WeightsNotFinite as error:
            problem = str(error)
        if problem := ranks.from_first(problem) if ranks else problem:
            raise not_finite(f"{problem} (step {position.step}, epoch {position.epoch + 1})", self.options.on_nan)
        self.saved, self.non_finite.roll_backs = position.place, 0

    def stop_at(self, step: int) -> None:
        """Have the run end after update number `step`."""
        self.length = self.length._replace(last_step=step)

    def state_dict(self) -> dict[str, Any]:
        """Return all that a run needs to be resumed from here."""
        return self.state.state_dict() | self.observers.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a state that `state_dict` gave."""
        self.state.load_state_dict(state)
        self.observers.load_state_dict(state)
        self.saved = self.state.position.place
