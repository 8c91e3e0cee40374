"""The loop: epoch, step, forward, loss, backward, clip, update; then evaluate, and keep a checkpoint."""

import math
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from expkit.checkpoints import WeightsNotFinite, newest_intact
from expkit.config.run_options import RunOptions
from expkit.core.seeding import derive_seed
from expkit.data.batches import Batch
from expkit.data.loader import Loader
from expkit.loggers import Point
from expkit.models import training_mode
from expkit.training.losses import Guessing
from expkit.training.metrics import joined, main_logits
from expkit.training.non_finite import MOST_ROLL_BACKS, REMEDIES, RollBack, TrainingDiverged, describe, not_finite
from expkit.training.optimizers import keep_layout
from expkit.training.signals import Interrupted
from expkit.training.step import Parts

Scores = dict[str, float]


class Trainer:
    """Trains and evaluates. `run` is the whole story; read on from there."""

    def __init__(self, parts: Parts, options: RunOptions) -> None:
        self.parts, self.options = parts, options
        self.epoch = self.batch = 0  # where the run stands: the epoch, and how many batches of it are done
        self.step = 0  # updates of the weights so far
        self.batches = min(len(parts.train), options.limit_train_batches or len(parts.train))
        self.steps_per_epoch = math.ceil(self.batches / options.accumulate_steps)
        self.last_step = min(options.epochs * self.steps_per_epoch, options.max_steps or 10**18)
        self.passed_over: set[tuple[int, int]] = set()  # (epoch, batch) that made the loss NaN before going back
        self.roll_backs = 0  # since the last checkpoint
        self.saved: tuple[int, int, int] | None = None  # epoch, batch and step of the last checkpoint
        self.wait = 0.0  # seconds this epoch spent waiting for data
        self.waited = self.worked = 0.0  # seconds that all epochs so far waited, and took
        self.scores: Scores = {}
        self.guessing = Guessing(parts.chance)

    @property
    def is_over(self) -> bool:
        stopping = self.parts.stopping
        return self.step >= self.last_step or (stopping is not None and stopping.is_over)

    def run(self) -> Scores:
        """Train to the end and return the last epoch's scores.

        Raises TrainingDiverged, and Interrupted, with a checkpoint written, after a signal that asks to end.
        """
        self.parts.logger.progress.epochs = math.ceil(self.last_step / self.steps_per_epoch)
        if self.options.on_nan == "roll_back" and self.saved is None:
            self.save({})  # what the first steps can go back to
        own = self.parts.logger, self.parts.interruption, self.step
        self.parts.watch.begin(*own, self.steps_per_epoch, self.last_step)
        while not self.is_over:
            try:
                began = time.perf_counter()
                trained = self.train_epoch()
                self.finish_epoch(trained, self.evaluate(), time.perf_counter() - began)
            except RollBack as asked:
                self.go_back(asked)
            except Interrupted as asked:
                if asked.is_whole and self.saved != (self.epoch, self.batch, self.step):
                    with suppress(RollBack):  # then the last checkpoint is the one to go on from
                        self.save({})
                raise
        return self.scores

    def train_epoch(self) -> Scores:
        """Train on each batch of the epoch that is left; returns the mean loss and scores over its samples."""
        parts, options = self.parts, self.options
        if parts.unfreezing:
            parts.unfreezing.before_epoch(self.epoch)
        training_mode(parts.model)
        if not self.batch:
            parts.train_metrics.start_epoch()
        self.wait, self.interval_began = 0.0, time.perf_counter()
        every = options.accumulate_steps
        # All keys of the epoch at once: a microsecond each, whereas between two steps, on cold caches, it is ten.
        place = parts.own_place
        keys = [derive_seed(options.seed, "step", self.epoch, number, *place) for number in range(self.batches)]
        for batch in self.batches_of("train", parts.train, self.batch, self.batches):
            window = min(every, self.batches - self.batch // every * every)  # the epoch's last may be shorter
            if parts.buffers and self.batch % every == 0:
                parts.buffers.keep()
            # A batch of which all files are unreadable is passed over, and one that made the loss NaN before.
            if (batch.total or len(batch.indices)) and (self.epoch, self.batch) not in self.passed_over:
                self.forward_backward(batch, keys[self.batch], window)
            self.batch += 1
            if self.batch % every == 0 or self.batch == self.batches:
                self.update()
                if self.step == self.last_step:
                    break
        self.log_steps()
        return parts.train_metrics.epoch()

    def forward_backward(self, batch: Batch, step_key: int, window: int) -> None:
        """Add the gradients of the epoch's next batch, one of `window` of an update; mixing and dropout are keyed."""
        parts = self.parts
        images, targets = parts.inputs(batch)
        if parts.mixing is not None:
            parts.device.seed(derive_seed(self.options.seed, "batch", self.epoch, self.batch))
            images, targets = parts.mixed(images, targets)
        if self.batch == 0:
            parts.watch.trained_on(self.epoch, self.step, images, targets)
        parts.device.seed(step_key)
        if parts.share:
            parts.share.begin(targets, batch.total)
        for piece in parts.pieces.of(images, targets, batch.total):  # one, unless the device has device.micro_batch
            with parts.pieces:
                parts.pieces.results.append(parts.learn(*piece, window))
        if parts.mixing is not None and targets.ndim == 2:
            targets = targets.argmax(1)  # a mixed image counts for the class that has most of it
        parts.train_metrics.update(self.batch, *joined(parts.pieces.results), targets)

    def update(self) -> None:
        """Clip the gradients, move the weights and the learning rate; then the state is whole."""
        parts, options = self.parts, self.options
        parts.pieces.meet(parts.model)
        if self.step + 1 == parts.watch.next_step:
            parts.watch.before_update(self.epoch, self.step + 1)
        if options.clip_grad_norm is not None or options.on_nan != "stop":
            parts.clip_gradients(options.clip_grad_norm, self.batch - 1)
        if options.on_nan != "skip" or self.is_finite():
            parts.move_weights()
            if parts.average:
                parts.average.after_step(self.step + 1, parts.model)
        parts.optimizer.zero_grad(set_to_none=True)
        parts.logger.progress.used(self.rate)
        parts.schedule.after_step()
        self.step += 1
        if self.step % options.log_every == 0:
            self.log_steps()
        if parts.checkpoints and parts.checkpoints.due_at(self.step):
            self.save({})
        parts.interruption.check()

    @torch.no_grad()
    def evaluate(self) -> Scores:
        """Return the scores over every validation sample, each counted once; those of the average if there is one."""
        parts = self.parts
        if parts.average:
            parts.average.before_evaluation(self.images_again)
        if not len(parts.val):
            return {}
        model = parts.average.model if parts.average else parts.model
        model.eval()
        forward = model if parts.average else parts.inference or model
        parts.eval_metrics.reset()
        parts.watch.begin_evaluation(self.epoch, self.step, model)
        batches = min(len(parts.val), self.options.limit_eval_batches or len(parts.val))
        for batch in self.batches_of("val", parts.val, 0, batches):
            if not (batch.total or len(batch.indices)):
                continue
            images = parts.normalize(parts.device.images(parts.images_of(batch)))
            targets = parts.device.targets(batch.targets)
            with parts.device.autocast():
                logits = main_logits(parts.pieces.outputs(forward, images, batch.total))
                loss = parts.mean_loss(logits, targets, batch.total)
            parts.eval_metrics.update(loss, logits, targets)
            parts.watch.judge(images, logits, targets, batch.indices)
        parts.watch.end_evaluation()
        return parts.eval_metrics.compute()

    def images_again(self) -> Iterator[Tensor]:
        """Yield this epoch's training images once more, as the model sees them but unmixed; dropout is keyed."""
        for number, batch in enumerate(self.batches_of("statistics", self.parts.train, 0, self.batches)):
            if batch.total or len(batch.indices):
                place = self.epoch, number, *self.parts.own_place
                self.parts.device.seed(derive_seed(self.options.seed, "statistics", *place))
                yield self.parts.normalize(self.parts.device.images(self.parts.images_of(batch)))

    def batches_of(self, stage: str, loader: Loader, start: int, end: int) -> Iterator[Batch]:
        """Yield batches `start` to `end` of this epoch; keeps the progress, and the time spent waiting for data."""
        progress = self.parts.logger.progress
        progress.begin(stage, self.epoch, start, end)
        # Evaluation draws, if a user's transform draws at all, the same in every epoch.
        batches = loader.epoch(0 if stage == "val" else self.epoch, start)
        for _ in range(start, end):
            asked = time.perf_counter()
            with self.parts.interruption.waiting(stage != "train" or self.batch % self.options.accumulate_steps == 0):
                batch = next(batches)
            self.wait += time.perf_counter() - asked
            yield batch
            progress.done += 1

    def log_steps(self) -> None:
        """Read the sums since the last time, once, and hand them over. Raises TrainingDiverged, RollBack."""
        self.check_losses()
        samples = self.parts.train_metrics.count
        if not samples:
            return
        values = self.parts.train_metrics.interval()
        now = time.perf_counter()
        values |= {"lr": self.rate, "images_per_second": samples / (now - self.interval_began)}
        values |= self.parts.watch.values()
        self.interval_began = now
        self.parts.logger.point(Point("step", self.epoch, self.step, values))

    @property
    def rate(self) -> float:
        """The learning rate of the first group."""
        return float(self.parts.optimizer.param_groups[0]["lr"])

    def check_losses(self) -> None:
        """Look whether the losses since the last time were finite. Raises TrainingDiverged, RollBack."""
        if not (bad := self.parts.train_metrics.read()):
            return
        step = self.epoch * self.steps_per_epoch + bad[0].batch // self.options.accumulate_steps + 1
        told = describe(bad[0], self.epoch, step, self.parts.train)
        if self.options.on_nan == "roll_back":
            raise RollBack(told, bad[0].batch)
        raise TrainingDiverged(f"{told}; {REMEDIES}")

    def is_finite(self) -> bool:
        """Say whether the step may be done; where it may not, nothing of it stays but a warning."""
        parts = self.parts
        if not (bad := parts.train_metrics.read()):
            return True
        assert parts.buffers is not None
        parts.buffers.restore()
        told = describe(bad[0], self.epoch, self.step + 1, parts.train)
        parts.logger.message(f"warning: {told}; the step was passed over (on_nan=skip)")
        return False

    def go_back(self, asked: RollBack) -> None:
        """Take up the last checkpoint, to pass over the batches that made the loss NaN. Raises TrainingDiverged."""
        checkpoints, epoch = self.parts.checkpoints, self.epoch
        assert checkpoints is not None
        self.roll_backs += 1
        checkpoints.wait()
        found = self.parts.first_before_others(lambda: newest_intact(checkpoints.folder))
        if found is None or self.roll_backs > MOST_ROLL_BACKS:
            raise TrainingDiverged(f"{asked}, after going back {self.roll_backs - 1}×; {REMEDIES}")
        self.load_state_dict(found.state)
        checkpoints.go_on(found.facts)
        self.parts.logger.cut_metrics(found.state["metrics_bytes"], self.step)
        if asked.batch is not None:
            self.passed_over.add((epoch, asked.batch))
        self.parts.logger.message(f"warning: {asked}; goes back to step {self.step}, and will pass over that batch")

    def finish_epoch(self, trained: Scores, evaluated: Scores, seconds: float) -> None:
        """Hand over the epoch's scores, keep a checkpoint, and say so when nothing is being learned."""
        parts = self.parts
        self.scores = {f"train/{name}": value for name, value in trained.items()}
        self.scores |= {f"val/{name}": value for name, value in evaluated.items()}
        self.scores = self.scores | parts.watch.measured | self.scores  # at the end, and overriding none
        times = {"lr": self.rate, "seconds": seconds}
        times |= {"images_per_second": parts.train_metrics.epoch_count / seconds, "data_wait": self.wait / seconds}
        self.waited, self.worked = self.waited + self.wait, self.worked + seconds
        parts.logger.point(Point("epoch", self.epoch, self.step, self.scores | times))
        if warning := self.guessing.warning(trained["loss"], evaluated.get("loss", math.nan), self.step):
            parts.logger.message(warning)
        if self.batch == self.batches:  # else max_steps has cut it short, and a longer run goes on within it
            self.epoch, self.batch = self.epoch + 1, 0
            score = parts.monitored(evaluated or trained)  # there may be no validation images
            parts.schedule.after_epoch(score)
            if parts.stopping:
                parts.stopping.after_epoch(score)
        if parts.checkpoints and parts.checkpoints.due_after(self.epoch, self.is_over):
            self.save(parts.scores_of_epoch(evaluated) if evaluated else {})

    def save(self, scores: Scores) -> None:
        """Keep a checkpoint of this instant. scores: of its evaluation, none in the midst of an epoch."""
        checkpoints = self.parts.checkpoints
        if checkpoints is None:
            return
        self.check_losses()
        facts = self.parts.facts | {"epoch": self.epoch, "batch": self.batch, "step": self.step}
        state, problem = self.state_dict(), ""
        try:
            checkpoints.save(state, facts, scores)
        except WeightsNotFinite as error:
            problem = str(error)
        if problem := self.parts.told_by_first(problem):
            raise not_finite(f"{problem} (step {self.step}, epoch {self.epoch + 1})", self.options.on_nan)
        self.saved, self.roll_backs = (self.epoch, self.batch, self.step), 0

    def state_dict(self) -> dict[str, Any]:
        """Return all that a run needs to go on from here; there is no RNG state, since randomness is keyed."""
        parts = self.parts
        state = {name: part.state_dict() for name, part in parts.stateful().items()}
        state |= {"epoch": self.epoch, "batch": self.batch, "step": self.step, "scores": self.scores}
        parts.logger.flush()  # metrics.jsonl is cut back to here when a run goes on
        state |= {"passed_over": [list(place) for place in sorted(self.passed_over)]}
        return state | {"watched": dict(parts.watch.pending), "metrics_bytes": parts.logger.metrics_bytes()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state_dict` gave."""
        for name, part in self.parts.stateful(state).items():
            part.load_state_dict(state[name])
        keep_layout(self.parts.optimizer)
        self.saved = self.epoch, self.batch, self.step = state["epoch"], state["batch"], state["step"]
        self.scores, self.parts.watch.pending = state["scores"], dict(state["watched"])
        self.passed_over = {(epoch, batch) for epoch, batch in state["passed_over"]}
