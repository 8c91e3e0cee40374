"""Optuna's part of a search: a study in the sweep's folder, samplers and pruners by name, draws keyed by the trial."""

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from expkit.config.search_space import Axis
from expkit.core.errors import ConfigError, nearest
from expkit.core.escaping import shortened
from expkit.core.formatting import count_noun
from expkit.core.seeding import derive_seed
from expkit.sweeps.groups import REPLICATES

SAMPLERS = ("tpe", "random", "cmaes", "grid")
PRUNERS = ("median", "percentile", "halving", "hyperband", "none")
NAME = "study.db"
_DRAWS = 8  # of a sampler that draws what was tried already, before another setting is taken
_quiet = partial(warnings.catch_warnings, action="ignore")  # keeps Optuna's remarks on what is experimental out
End = Literal["finished", "pruned", "failed"]


@dataclass(frozen=True)
class Settings:
    """The settings of `hydra/sweeper=search`.

    n_trials: in all; startup_trials: drawn at random before the sampler learns; prune_after_trials, warmup_epochs:
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
            faults.append(f"hydra.sweeper.{name}: expected an integer from {least} up, got {given[name]!r}")
    if not isinstance(given["seed"], int):
        faults.append(f"hydra.sweeper.seed: expected an integer, got {given['seed']!r}")
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
    """A study that resumes where it was, whatever ended the process. Trials are identified by their jobs' numbers.

    Each trial has a new sampler, seeded by key: what it draws depends on the trials before, and not on how many
    processes drew them.
    """

    def __init__(self, folder: Path, axes: Sequence[Axis], settings: Settings, higher: bool) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._axes, self._settings, self._optuna = axes, settings, optuna
        self._given_up: set[int] = set()
        self._path = folder / NAME
        self._distributions = {axis.key: _distribution(axis) for axis in axes}
        try:
            with _quiet():
                self._study = optuna.create_study(
                    storage=f"sqlite:///{self._path}", study_name="search", load_if_exists=True,
                    direction="maximize" if higher else "minimize", pruner=self._pruner(),
                )  # fmt: skip
                self._study.get_trials(deepcopy=False)
        except Exception as error:  # of SQLite, of SQLAlchemy or of Optuna, by what is damaged
            cause = getattr(error, "orig", error)  # SQLAlchemy puts the statement around what SQLite said
            reason = shortened(" ".join(str(cause).split()), 300)
            problem = f"{self._path}: cannot be read as a study ({reason})"
            raise ConfigError(f"{problem}; add --new to begin the search anew") from error

    @property
    def most(self) -> int:
        """The number of trials that there can be."""
        return trials_of(self._settings, self._axes)

    def ask(self, job: int) -> tuple[int, dict[str, Any]]:
        """Return the number of a new trial and its values by key. job: the number of the job that will run it.

        A setting that was tried is not tried again, since its run would be the same: another one is drawn, and of a
        small space one of those that are left.
        """
        with _quiet():
            trials = self._study.get_trials(deepcopy=False)
            tried = {_place(one.params) for one in trials if one.number not in self._given_up}
            for draw in range(_DRAWS):
                drawn = (draw,) if draw else ()
                self._study.sampler = self._sampler(derive_seed(self._settings.seed, "trial", job, *drawn) % 2**32)
                trial = self._study.ask(self._distributions)
                if _place(trial.params) not in tried:
                    return trial.number, dict(trial.params)
                self.tell(trial.number, "failed", None)
            if left := self._untried(tried, derive_seed(self._settings.seed, "left", job)):
                self._study.enqueue_trial(left)
            trial = self._study.ask(self._distributions)
        return trial.number, dict(trial.params)

    def _untried(self, tried: set[str], number: int) -> dict[str, Any]:
        """Return one of the settings that no trial had, {} where there is none."""
        total = _settings_in(self._axes) or 0
        for skipped in range(total):
            place, values = (number + skipped) % total, {}
            for axis in self._axes:
                place, own = divmod(place, axis.count or 1)
                values[axis.key] = axis.at(own)
            if _place(values) not in tried:
                return values
        return {}

    def report(self, trial: int, epoch: int, score: float) -> bool:
        """Report an epoch's score; return whether the trial is bad enough to be pruned."""
        with _quiet():
            frozen = self._study.get_trials(deepcopy=False)[trial]
            if frozen.last_step is not None and epoch < frozen.last_step:
                return False  # it has been looked at
            running = self._optuna.trial.Trial(self._study, frozen._trial_id)
            if epoch not in frozen.intermediate_values:
                running.report(score, epoch)
            return bool(running.should_prune())

    def tell(self, trial: int, end: End, score: float | None) -> None:
        """Set how a trial ended; only the first time counts. A score that is no number is a failure."""
        if self.is_over(trial):
            return
        states = self._optuna.trial.TrialState
        with _quiet():
            self._study.sampler = self._optuna.samplers.RandomSampler()  # an exhausted grid sampler would stop us
            if end == "pruned":
                self._study.tell(trial, state=states.PRUNED)
            elif end == "finished" and score is not None and math.isfinite(score):
                self._study.tell(trial, score)
            else:
                self._study.tell(trial, state=states.FAIL)

    def is_over(self, trial: int) -> bool:
        return bool(self._study.get_trials(deepcopy=False)[trial].state.is_finished())

    def require(self, trials: set[int]) -> None:
        """Raise ConfigError where the study lacks trials of the jobs: its file was lost or replaced."""
        if lost := trials - {one.number for one in self._study.get_trials(deepcopy=False)}:
            problem = f"{self._path}: has lost {count_noun(len(lost), 'trial')} of jobs.jsonl"
            raise ConfigError(f"{problem}; add --new to begin the search anew")

    def drop_unknown(self, known: set[int]) -> None:
        """Give up the trials that were killed before they had a job."""
        self._given_up = {one.number for one in self._study.get_trials(deepcopy=False)} - known
        for trial in self._given_up:
            self.tell(trial, "failed", None)

    def importances(self) -> dict[str, float]:
        """Return each key's share of the variance of the scores (PED-ANOVA), the greatest first; {} for too few."""
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
                startup = max(startup, 1)
                return samplers.CmaEsSampler(seed=seed, n_startup_trials=startup, warn_independent_sampling=False)
            case "grid":  # which point has which number depends on the seed, so this one stays the same
                points = {axis.key: [axis.at(place) for place in range(axis.count or 0)] for axis in self._axes}
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


def trials_of(settings: Settings, axes: Sequence[Axis]) -> int:
    """Return how many trials a search has: as many as requested, or one for each setting where those are fewer."""
    return min(settings.n_trials, _settings_in(axes) or settings.n_trials)


def fewer_trials(settings: Settings, axes: Sequence[Axis]) -> list[str]:
    """Return a note where there are fewer settings than requested trials."""
    if (most := trials_of(settings, axes)) == settings.n_trials:
        return []
    return [f"note: there are {count_noun(most, 'setting')} to try, so that the search has {count_noun(most, 'trial')},"
            f" not {settings.n_trials}"]  # fmt: skip


def _settings_in(axes: Sequence[Axis]) -> int | None:
    """Return how many settings a space holds, None where they are infinite."""
    counts = [axis.count for axis in axes]
    return None if None in counts else math.prod(count for count in counts if count)


def _place(values: Mapping[str, Any]) -> str:
    """Return a text that two trials of one setting share."""
    shown = {name: f"{value:.12g}" if isinstance(value, float) else value for name, value in values.items()}
    return json.dumps(shown, sort_keys=True)


def _distribution(axis: Axis) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if axis.kind == "choice":
        return CategoricalDistribution(axis.choices)
    if axis.kind == "int":
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log, step=int(axis.step or 1))
    return FloatDistribution(axis.low, axis.high, log=axis.log, step=axis.step)
