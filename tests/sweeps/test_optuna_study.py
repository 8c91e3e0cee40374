"""A study: samplers and pruners by name, draws that depend on the trials alone, and a study that is resumed."""

import math
from pathlib import Path
from typing import Any

import pytest

from expkit.config.search_space import Axis
from expkit.core.errors import ConfigError

pytest.importorskip("optuna", reason="needs the extra optuna: pip install 'expkit[optuna]'")
from expkit.sweeps.job import SweepJob
from expkit.sweeps.optuna_study import PRUNERS, SAMPLERS, Study, settings_of
from expkit.sweeps.search import refuse_scales

RATE = Axis("lr", "float", 1e-4, 1e-1, log=True)
WIDTH = Axis("width", "int", 4, 16, step=4)
MODEL = Axis("model", "choice", choices=("small_cnn", "resnet18"))
DEFAULTS: dict[str, Any] = {
    "n_trials": 8, "sampler": "tpe", "startup_trials": 3, "pruner": "median", "prune_after_trials": 3,
    "warmup_epochs": 1, "seed": 0,
}  # fmt: skip


def study(folder: Path, *axes: Axis, higher: bool = True, **settings: Any) -> Study:
    return Study(folder, axes, settings_of(DEFAULTS | settings, axes), higher)


def drawn(made: Study, first: int, end: int) -> list[dict[str, Any]]:
    """Draw trials whose scores are the better the larger the rate."""
    found = []
    for job in range(first, end):
        trial, values = made.ask(job)
        made.tell(trial, "finished", math.log10(values.get("lr", 1.0)) + 0.1 * (values["model"] == "resnet18"))
        found.append(values)
    return found


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "grid"])
def test_draws_are_the_same_however_many_processes_make_them(sampler: str, tmp_path: Path) -> None:
    for name in ("at_once", "in_parts", "other"):
        (tmp_path / name).mkdir()
    whole = drawn(study(tmp_path / "at_once", RATE, MODEL, sampler=sampler), 0, 8)
    first = drawn(study(tmp_path / "in_parts", RATE, MODEL, sampler=sampler), 0, 5)
    assert first + drawn(study(tmp_path / "in_parts", RATE, MODEL, sampler=sampler), 5, 8) == whole
    assert len({values["lr"] for values in whole}) == 8
    assert drawn(study(tmp_path / "other", RATE, MODEL, sampler=sampler, seed=1), 0, 8) != whole


def test_the_sampler_learns(tmp_path: Path) -> None:
    values = drawn(study(tmp_path, RATE, MODEL, n_trials=30), 0, 30)
    early, late = ([one["lr"] for one in part] for part in (values[:5], values[-10:]))
    assert sum(map(math.log, late)) / 10 > sum(map(math.log, early)) / 5
    assert sorted(study(tmp_path, RATE, MODEL).importances()) == ["lr", "model"]
    shares = study(tmp_path, RATE, MODEL).importances()
    assert shares["lr"] > shares["model"]
    assert sum(shares.values()) == pytest.approx(1)


def test_a_grid_is_tried_once_and_is_over(tmp_path: Path) -> None:
    made = study(tmp_path, MODEL, WIDTH, sampler="grid", n_trials=20)
    assert made.most == 8
    points = [tuple(values.items()) for values in drawn(made, 0, 4)]
    points += [tuple(values.items()) for values in drawn(study(tmp_path, MODEL, WIDTH, sampler="grid"), 4, 8)]
    assert len(set(points)) == 8


@pytest.mark.parametrize("pruner", PRUNERS)
@pytest.mark.parametrize("higher", [True, False], ids=["higher", "lower"])
def test_a_bad_trial_is_pruned_and_a_good_one_is_not(pruner: str, higher: bool, tmp_path: Path) -> None:
    made, sign = study(tmp_path, RATE, higher=higher, pruner=pruner, sampler="random"), 1 if higher else -1
    for job in range(6):
        trial, _ = made.ask(job)
        assert not made.report(trial, 0, -9.0 * sign)  # a first epoch is not judged by it
        for epoch in range(1, 9):
            made.report(trial, epoch, sign * (job + epoch))
        made.tell(trial, "finished", float(sign * (job + 9)))
    good, _ = made.ask(6)
    assert not any(made.report(good, epoch, sign * 100.0) for epoch in range(1, 4))
    bad, _ = made.ask(7)
    looks = [made.report(bad, epoch, sign * -100.0) for epoch in range(1, 9)]
    assert any(looks) == (pruner != "none")


def test_a_score_that_is_no_number_fails_and_the_study_goes_on(tmp_path: Path) -> None:
    made = study(tmp_path, RATE, MODEL)
    for job, (end, score) in enumerate([("finished", math.nan), ("finished", None), ("failed", 1.0), ("pruned", 1.0)]):
        trial, _ = made.ask(job)
        made.tell(trial, end, score)  # type: ignore[arg-type]
        made.tell(trial, "finished", 5.0)  # the first word counts
        assert made.is_over(trial)
    states = [trial.state.name for trial in made._study.trials]
    assert states == ["FAIL", "FAIL", "FAIL", "PRUNED"]
    assert made.importances() == {}
    drawn(made, 4, 8)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_no_setting_is_tried_twice(sampler: str, tmp_path: Path) -> None:
    made = study(tmp_path, WIDTH, MODEL, sampler=sampler, n_trials=20)
    assert made.most == 8
    values = drawn(made, 0, 8)
    assert len({tuple(one.items()) for one in values}) == 8
    for one in values:
        assert one["width"] in (4, 8, 12, 16)


def test_a_trial_that_never_had_a_job_is_given_up(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    expected = drawn(study(whole, RATE, MODEL), 0, 8)
    made = study(tmp_path, RATE, MODEL)
    found = drawn(made, 0, 4)
    made.ask(4)  # and then the process was killed
    made = study(tmp_path, RATE, MODEL)
    made.drop_unknown(known={0, 1, 2, 3})
    assert found + drawn(made, 4, 8) == expected


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"sampler": "tpee"}, "hydra.sweeper.sampler: there is no 'tpee'; did you mean 'tpe'?"),
        ({"pruner": "best"}, "hydra.sweeper.pruner: there is no 'best'"),
        ({"n_trials": 0}, "hydra.sweeper.n_trials: expected an integer from 1 up, got 0"),
        ({"warmup_epochs": 0.5}, "hydra.sweeper.warmup_epochs: expected an integer from 0 up"),
        ({"sampler": "grid"}, "grid takes lists and ranges, and lr is an interval"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as error:
        settings_of(DEFAULTS | settings, [RATE])
    assert says in str(error.value)


@pytest.mark.parametrize("key", ["seed", "dataset.fold", "+dataset.split_seed"])
def test_what_a_setting_is_only_tried_again_with_is_not_searched(key: str) -> None:
    with pytest.raises(ConfigError, match="is no setting to search"):
        settings_of(DEFAULTS, [Axis(key, "choice", choices=("0", "1"))])


def test_a_search_has_one_scale() -> None:
    jobs = [SweepJob(0, [], {}, "", {"model": "a"}), SweepJob(1, [], {}, "", {"model": "b"})]
    refuse_scales(jobs)
    jobs.append(SweepJob(2, [], {}, "", {"model": "a", "dataset": "mnist"}, scale='{"images": "mnist"}'))
    with pytest.raises(ConfigError, match=r"these values are not: .*dataset=mnist"):
        refuse_scales(jobs)
