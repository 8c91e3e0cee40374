"""The few calls that the loop makes; each returns at once unless a watcher is due."""

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from expkit.config.registry import watchers
from expkit.loggers.base import Point
from expkit.loggers.hub import LoggerHub
from expkit.tasks.class_metrics import probabilities_of
from expkit.training.signals import Interruption
from expkit.training.watch.base import OF_CLASSES, Judged, Moment, Scene, Shown, Watcher, WatchOptions, Where

Config = Mapping[str, Any]


class Score(NamedTuple):
    """A value that a watcher measures after an evaluation; watcher: its name in the config, every: epochs between."""

    higher_is_better: bool
    watcher: str
    every: int


class Watchers(NamedTuple):
    """The watchers of a run, with the epochs between their looks.

    scores: what they, those of other ranks too, say they measure. notes: on what is not watched.
    """

    chosen: Sequence[tuple[Watcher, int]]
    scores: Mapping[str, Score]
    notes: list[str]


class WatchDispatcher:
    """Asks the watchers when they are due; one that raises is named once and left out from then on."""

    def __init__(
        self, logger: LoggerHub, interruption: Interruption, scene: Scene | None = None,
        chosen: Sequence[tuple[Watcher, int]] = (),
    ) -> None:  # fmt: skip
        """chosen: watchers with the epochs between their looks."""
        self._logger, self._interruption, self._scene, self._chosen = logger, interruption, scene, list(chosen)
        self._steps_per_epoch = self._last_step = 1
        self._evaluating: list[Watcher] = []
        self._where = Where(0, 0)
        self.pending: dict[str, float] = {}  # values for the next point of steps
        self.measured: dict[str, float] = {}  # values of the last evaluation, for the point of its epoch
        self.next_step = -1  # the update before which somebody wants to see gradients

    @property
    def directions(self) -> dict[str, bool]:
        """Of the scores that watchers measure, whether higher is better."""
        scores = [pair for watcher, _ in self._chosen for pair in watcher.scores.items()]
        return {name.removeprefix("val/"): higher for name, higher in scores}

    # ---- what the loop calls -------------------------------------------------------------------------------

    def begin(self, step: int, steps_per_epoch: int, last_step: int) -> None:
        """Call before the first step: shows the model as it starts."""
        self._steps_per_epoch, self._last_step = steps_per_epoch, last_step
        for watcher, _ in self._chosen:
            assert self._scene is not None
            watcher.scene = self._scene
        if step == 0:
            self._ask(self._at("start"), lambda watcher: watcher.start())
        self._plan(step)

    def trained_on(self, epoch: int, step: int, images: Tensor, targets: Tensor) -> None:
        """Call with the first batch of an epoch, as the model gets it."""
        due = [watcher for watcher, every in self._of("inputs") if epoch % every == 0]
        self._ask(due, lambda watcher: watcher.inputs(Where(epoch, step), images, targets))

    def before_update(self, epoch: int, step: int) -> None:
        """Call when the update `next_step` is about to be made; step: that number."""
        due = [watcher for watcher, every in self._of("update") if self._next(watcher, every, step - 1) == step]
        self._ask(due, lambda watcher: watcher.update(Where(epoch, step)))
        self._plan(step)

    def values(self) -> dict[str, float]:
        """Return what was measured since the last point of steps, to be part of the next one."""
        values, self.pending = self.pending, {}
        return values

    def begin_evaluation(self, epoch: int, step: int, model: nn.Module) -> None:
        """Call before an evaluation. model: the one that is evaluated, e.g. an average of the trained one."""
        if self._scene is not None and model is not self._scene.model:
            self._scene = replace(self._scene, model=model)
            for watcher in self._at("evaluation"):
                watcher.scene = self._scene
        self.measured = {}
        self._where, last = Where(epoch, step), step >= self._last_step
        self._evaluating = [watcher for watcher, every in self._of("evaluation") if last or (epoch + 1) % every == 0]
        self._ask(self._evaluating, lambda watcher: watcher.before_evaluation())

    def judge(self, images: Tensor, logits: Tensor, targets: Tensor, indices: Tensor) -> None:
        """Call with each batch of an evaluation."""
        if not self._evaluating or self._scene is None:
            return
        judged = judge(images, logits.float(), targets, indices, self._scene.task)
        self._ask(self._evaluating, lambda watcher: watcher.judge(judged))

    def end_evaluation(self) -> None:
        """Call after an evaluation."""
        self._ask(self._evaluating, lambda watcher: watcher.evaluated(self._where))
        self._evaluating = []

    # ---- when, and how -------------------------------------------------------------------------------------

    def _of(self, moment: Moment) -> list[tuple[Watcher, int]]:
        return [(watcher, every) for watcher, every in self._chosen if watcher.moment == moment]

    def _at(self, moment: Moment) -> list[Watcher]:
        return [watcher for watcher, _ in self._of(moment)]

    def _next(self, watcher: Watcher, every: int, step: int) -> int:
        """Return the next update after `step` that a watcher wants to see."""
        between = watcher.steps or every * self._steps_per_epoch
        return min((step // between + 1) * between, self._last_step)

    def _plan(self, step: int) -> None:
        self.next_step = min((self._next(one, every, step) for one, every in self._of("update")), default=-1)

    def _ask(self, due: Sequence[Watcher], question: Callable[[Watcher], Shown | None]) -> None:
        if not due:
            return
        assert self._scene is not None
        # Between a gradient and its update the state is not whole: a signal waits for that update.
        is_whole = due[0].moment in ("inputs", "evaluation")
        moment = self._interruption.looking if is_whole else nullcontext
        with undisturbed(self._scene.model):
            for watcher in due:
                try:
                    with moment():
                        found = list(question(watcher) or ())
                    for shown in found:
                        if isinstance(shown, Point):
                            values = self.measured if watcher.moment == "evaluation" else self.pending
                            values |= {name: float(value) for name, value in shown.values.items()}
                        else:
                            self._logger.show(shown)
                except Exception as error:  # whatever goes wrong in looking, the run continues
                    self._leave_out(watcher, error)

    def _leave_out(self, watcher: Watcher, error: Exception) -> None:
        self._chosen = [pair for pair in self._chosen if pair[0] is not watcher]
        self._evaluating = [one for one in self._evaluating if one is not watcher]
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        self._logger.message(
            f"warning: watching {type(watcher).__name__} failed and is left out from here on: {what};"
            " the run is not affected, watch=none watches nothing"
        )


def judge(images: Tensor, logits: Tensor, targets: Tensor, indices: Tensor, task: str) -> Judged:
    """Return a batch with probabilities and each sample's loss (cross entropy; multilabel: the mean of its C).

    Of a task without classes, the outputs stand for the probabilities, and there are no losses.
    """
    if task not in OF_CLASSES:
        return Judged(images, targets, logits, logits.new_full((len(logits),), math.nan), indices)
    if task == "multilabel":
        losses = nn.functional.binary_cross_entropy_with_logits(logits, targets.float(), reduction="none").mean(1)
    else:
        losses = nn.functional.cross_entropy(logits, targets, reduction="none")
    return Judged(images, targets, probabilities_of(logits, task), losses, indices)


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Put the random generators and the model's modes back to where they were; nothing inside needs gradients."""
    kept = torch.get_rng_state(), random.getstate(), np.random.get_state()
    on_gpu = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    modes = [(module, module.training) for module in model.modules()]
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training
        torch.set_rng_state(kept[0])
        random.setstate(kept[1])
        np.random.set_state(kept[2])
        for number, state in enumerate(on_gpu):
            torch.cuda.set_rng_state(state, number)


def build_watchers(node: Config, kind: str, is_sharded: bool, is_first: bool) -> Watchers:
    """Build the watchers that a config chooses; those with every=0 are left out. Raises ConfigError.

    kind: of the targets; a watcher that does not understand it is left out. is_sharded: whether no process has all
    weights; those that need them are left out then, with a note. is_first:
    another rank has those watchers only that ask all ranks.
    """
    chosen, left_out, scores = [], [], dict[str, Score]()
    for name, one in node.items():
        options: WatchOptions = watchers.shared(one)
        if not options.every:
            continue
        watcher: Watcher = watchers.build(one, f"watch.{name}")
        if watcher.kinds is not None and kind not in watcher.kinds:
            continue
        if is_sharded and watcher.needs_weights:
            left_out.append(name)
            continue
        scores |= {
            key.removeprefix("val/"): Score(higher, name, options.every) for key, higher in watcher.scores.items()
        }
        if is_first or (is_sharded and watcher.asks_all_ranks):
            chosen.append((watcher, options.every))
    note = f"watch: {', '.join(left_out)} left out: with device.strategy=fsdp no rank has all weights"
    return Watchers(chosen, scores, [note] if left_out else [])
