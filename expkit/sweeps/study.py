"""Optuna's part of a search: a study in the sweep's folder, samplers and pruners by name, draws keyed by the trial."""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from expkit.keys import key
from expkit.registry import ConfigError, nearest
from expkit.spaces import Axis
from expkit.sweeps.groups import REPLICATES

SAMPLERS = ("tpe", "random", "cmaes", "grid")
PRUNERS = ("median", "percentile", "halving", "hyperband", "none")
NAME = "study.db"
End = Literal["finished", "pruned", "failed"]


@dataclass(frozen=True)
class Settings:
    """The settings of `hydra/sweeper=search`.

    n_trials: all in all; startup_trials: drawn at random before the sampler learns; prune_after_trials, warmup_epochs:
    before so many trials are done, and in so many first epochs, none is pruned.
    """

    n_trials: int
    sampler: str
    startup_trials: int
    pruner: str
    prune_after_trials: int
    warmup_epochs: int
    seed: int


def settings_of(given: Mapping[str, Any], axes: Sequence[Axis]) -> Settings:
    """Check the settings, and that Optuna is here. Raises ConfigError with all faults."""
    faults = []
    for name, least in (("n_trials", 1), ("startup_trials", 0), ("prune_after_trials", 0), ("warmup_epochs", 0)):
        if isinstance(given[name], bool) or not isinstance(given[name], int) or given[name] < least:
            faults.append(f"hydra.sweeper.{name}: takes a whole number from {least} up, got {given[name]!r}")
    if not isinstance(given["seed"], int):
        faults.append(f"hydra.sweeper.seed: takes a whole number, got {given['seed']!r}")
    for name, known in (("sampler", SAMPLERS), ("pruner", PRUNERS)):
        if given[name] not in known:
            hint = nearest(str(given[name]), known) or f"; there is {', '.join(known)}"
            faults.append(f"hydra.sweeper.{name}: there is no '{given[name]}'{hint}")
    for axis in axes:
        if axis.path in REPLICATES:
            faults.append(
                f"{axis.key}: is no setting to search, for the luckiest would win; search with one value, then run the"
                f" best settings with several: -m experiment=best {axis.key}={REPLICATES[axis.path]}"
            )
        if given["sampler"] == "grid" and axis.kind != "choice" and axis.step is None:
            faults.append(f"hydra.sweeper.sampler: grid takes lists and ranges, and {axis.key} is an interval")
    for module in ("optuna", *(["cmaes"] if given["sampler"] == "cmaes" else [])):
        try:
            __import__(module)
        except ImportError:
            faults.append(f"hydra/sweeper=search: {module} is not installed; pip install 'expkit[optuna]'")
    if faults:
        raise ConfigError(*faults)
    return Settings(**given)


class Study:
    """A study that goes on where it was left, whatever ended the process. Trials are known by their jobs' numbers.

    A sampler begins anew for each trial, seeded by key: what it draws depends on the trials before, and not on how
    many processes drew them.
    """

    def __init__(self, folder: Path, axes: Sequence[Axis], settings: Settings, higher: bool) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._axes, self._settings, self._optuna = axes, settings, optuna
        self._distributions = {axis.key: _distribution(axis) for axis in axes}
        with _quiet():
            self._study = optuna.create_study(
                storage=f"sqlite:///{folder / NAME}", study_name="search", load_if_exists=True,
                direction="maximize" if higher else "minimize", pruner=self._pruner(),
            )  # fmt: skip

    @property
    def most(self) -> int:
        """How many trials there can be: as many as were asked for, or the points of the grid."""
        if self._settings.sampler != "grid":
            return self._settings.n_trials
        return min(self._settings.n_trials, math.prod(len(_values(axis)) for axis in self._axes))

    def ask(self, job: int) -> tuple[int, dict[str, Any]]:
        """Return the number of a new trial and its values by key. job: the number of the job that will run it."""
        with _quiet():
            self._study.sampler = self._sampler(key(self._settings.seed, "trial", job) % 2**32)
            trial = self._study.ask(self._distributions)
        return trial.number, dict(trial.params)

    def report(self, trial: int, epoch: int, score: float) -> bool:
        """Note an epoch's score; returns whether the trial is bad enough to be pruned."""
        with _quiet():
            frozen = self._study.get_trials(deepcopy=False)[trial]
            if frozen.last_step is not None and epoch < frozen.last_step:
                return False  # it has been looked at
            running = self._optuna.trial.Trial(self._study, frozen._trial_id)
            if epoch not in frozen.intermediate_values:
                running.report(score, epoch)
            return bool(running.should_prune())

    def tell(self, trial: int, end: End, score: float | None) -> None:
        """Say how a trial ended; once it has, that counts. A score that is no number is a failure."""
        if self.is_over(trial):
            return
        states = self._optuna.trial.TrialState
        with _quiet():
            self._study.sampler = self._optuna.samplers.RandomSampler()  # the grid's, when it is through, would stop us
            if end == "pruned":
                self._study.tell(trial, state=states.PRUNED)
            elif end == "finished" and score is not None and math.isfinite(score):
                self._study.tell(trial, score)
            else:
                self._study.tell(trial, state=states.FAIL)

    def is_over(self, trial: int) -> bool:
        return bool(self._study.get_trials(deepcopy=False)[trial].state.is_finished())

    def drop_unknown(self, known: set[int]) -> None:
        """Give up the trials that a kill came upon before they had a job."""
        for trial in self._study.get_trials(deepcopy=False):
            if trial.number not in known:
                self.tell(trial.number, "failed", None)

    def importances(self) -> dict[str, float]:
        """Return each key's share in the differences of the scores (PED-ANOVA), the greatest first; {} of too few."""
        with _quiet():
            try:
                found = self._optuna.importance.get_param_importances(self._study)
            except (ValueError, RuntimeError):  # fewer than two trials are complete, or all scores are the same
                return {}
        return {name: float(value) for name, value in found.items() if math.isfinite(value)}

    def _sampler(self, seed: int) -> Any:
        samplers, startup = self._optuna.samplers, self._settings.startup_trials
        match self._settings.sampler:
            case "random":
                return samplers.RandomSampler(seed=seed)
            case "cmaes":
                return samplers.CmaEsSampler(
                    seed=seed, n_startup_trials=max(startup, 1), warn_independent_sampling=False
                )
            case "grid":  # which point has which number depends on the seed, so this one stays the same
                points = {axis.key: _values(axis) for axis in self._axes}
                return samplers.GridSampler(points, seed=self._settings.seed % 2**32)
        return samplers.TPESampler(seed=seed, n_startup_trials=startup, constant_liar=True)

    def _pruner(self) -> Any:
        pruners, wait = self._optuna.pruners, self._settings.warmup_epochs
        after = self._settings.prune_after_trials
        match self._settings.pruner:
            case "median":
                return pruners.MedianPruner(n_startup_trials=after, n_warmup_steps=wait)
            case "percentile":
                return pruners.PercentilePruner(25.0, n_startup_trials=after, n_warmup_steps=wait)
            case "halving":
                return pruners.SuccessiveHalvingPruner(min_resource=max(wait, 1))
            case "hyperband":
                return pruners.HyperbandPruner(min_resource=max(wait, 1))
        return pruners.NopPruner()


def _distribution(axis: Axis) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if axis.kind == "choice":
        return CategoricalDistribution(axis.choices)
    if axis.kind == "int":
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log, step=int(axis.step or 1))
    return FloatDistribution(axis.low, axis.high, log=axis.log, step=axis.step)


def _values(axis: Axis) -> list[Any]:
    """Return all values of an axis that has so many."""
    if axis.kind == "choice":
        return list(axis.choices)
    assert axis.step
    count = round((axis.high - axis.low) / axis.step) + 1
    values = [axis.low + number * axis.step for number in range(count)]
    return [int(value) for value in values] if axis.kind == "int" else values


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's remarks on what is experimental from the table."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
