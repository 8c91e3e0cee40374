"""What messages about sweeps and searches say to type: each row makes the mistake, and then types that."""

import shlex
from pathlib import Path
from typing import Any

import pytest

from expkit.config.command_line import plan
from expkit.config.search_space import Axis
from expkit.core.errors import ConfigError
from expkit.sweeps.folder import SweepFolder
from expkit.sweeps.groups import REPLICATES
from expkit.sweeps.job import SweepJob
from expkit.sweeps.optuna_study import settings_of
from expkit.sweeps.resources import share_out
from expkit.sweeps.search import refuse_scales
from tests.forks import Forks
from tests.remedies.followed import extras_named, follow
from tests.sweeps.test_optuna_study import DEFAULTS
from tests.sweeps.test_sweep import small_command

SEARCH = "hydra/sweeper=search epochs=1,2"
# What is typed behind -m, what is said, what is typed then; what begins with - is left out.
ROWS = [
    ("epochs=1,2 sweep.zip=[epochs,seed]", "give its values, seed=…,…", "seed=0,1"),
    ("epochs=1,2 sweep.zip=[seed,bs]", "give its values, seed=…,…", "sweep.zip=[epochs,seed] seed=0,1"),
    ("epochs=1,2 seed=0,1,2 sweep.zip=[epochs,seed]", "equally many values of each key", "epochs=1,2,3"),
    ("epochs=1,2 sweep.zip=[epochs]", "e.g. [model,optimizer.lr]",
     "sweep.zip=[model,optimizer.lr] model=small_cnn,vgg16 optimizer.lr=0.1,0.2"),
    ("epochs=1,2 sweep.exclude=[{epochs:11}]", "did you mean 'epochs=1'?", "sweep.exclude=[{epochs:1}]"),
    ("epochs=1,2 sweep.exclude=[epochs]", "e.g. [{model:vgg16,optimizer.lr:0.1}]",
     "sweep.exclude=[{model:vgg16,optimizer.lr:0.1}] model=small_cnn,vgg16 optimizer.lr=0.1,0.2"),
    ("epochs=1,2 sweep.exclude=[{epochs:1},{epochs:2}]", "exclude fewer", "sweep.exclude=[{epochs:1}]"),
    ("optimizer.lr=interval(0.1,0.2)", "searched by hydra/sweeper=search", "hydra/sweeper=search"),
    ("epochs=range(5,1)", "give range(START,STOP) with STOP above START", "epochs=range(1,5)"),
    ("epochs=range(1,5,0)", "a range needs a step other than 0", "epochs=range(1,5,2)"),
    ("hydra/launcher=joblib seed=0,1", "or use pool", "hydra/launcher=pool"),
    (f"{SEARCH} hydra/launcher=basic", "(hydra.launcher.n_jobs=1)", "hydra.launcher.n_jobs=1 -hydra/launcher"),
    (f"{SEARCH} sweep.zip=[epochs,seed]", "is for every combination", "-sweep.zip"),
]  # fmt: skip


def fault(typed: list[str]) -> str:
    try:
        return "\n".join(plan(["-m", *typed]).faults)
    except ConfigError as error:
        return "\n".join(error.faults)


@pytest.mark.parametrize(("line", "said", "then"), ROWS)
def test_the_jobs_are_planned_then(line: str, said: str, then: str, tmp_path: Path) -> None:
    typed = shlex.split(line)
    message = fault(typed)
    assert said in message
    assert not fault(follow(typed, then, message, tmp_path))


@pytest.mark.parametrize("launcher", ["ray", "submitit_local", "submitit_slurm"])
def test_the_launchers_extra_is_there(launcher: str) -> None:
    if message := fault([f"hydra/launcher={launcher}", "seed=0,1"]):
        assert extras_named(message) == ["ray" if launcher == "ray" else "slurm"]


# Settings of a search, its sampler's axes, what is said, and the setting that is then right.
LIST, RATE = Axis("epochs", "choice", choices=("1", "2")), Axis("optimizer.lr", "float", low=0.1, high=0.2)
SETTINGS: list[tuple[dict[str, Any], Axis, str, dict[str, Any]]] = [
    ({"sampler": "tpee"}, LIST, "did you mean 'tpe'?", {"sampler": "tpe"}),
    ({"pruner": "best"}, LIST, "there is median, percentile, halving", {"pruner": "halving"}),
    ({"n_trials": 0}, LIST, "expected an integer from 1 up", {"n_trials": 1}),
    ({"sampler": "grid"}, RATE, "grid takes lists and ranges, and optimizer.lr is an interval", {"sampler": "tpe"}),
]


@pytest.mark.parametrize(("given", "axis", "said", "then"), SETTINGS)
def test_the_search_is_set_then(given: dict[str, Any], axis: Axis, said: str, then: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as error:
        settings_of(DEFAULTS | given, [axis])
    assert said in str(error.value)
    assert settings_of(DEFAULTS | given | then, [axis])


@pytest.mark.parametrize("key", REPLICATES)
def test_what_is_not_searched_is_swept_over_then(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("conf/experiment").mkdir(parents=True)
    Path("conf/experiment/best.yaml").write_text("# @package _global_\nepochs: 3\n")
    with pytest.raises(ConfigError) as error:
        settings_of(DEFAULTS, [Axis(key, "choice", choices=("0", "1"))])
    words = shlex.split(str(error.value).split("run the best settings with several: -m ")[1])
    assert not fault([*words, "dataset=image_folder", "dataset.root=pets"])


def test_what_is_measured_apart_is_searched_apart() -> None:
    apart = [SweepJob(0, [], {}, "", {"model": "a"}), SweepJob(1, [], {}, "", {"model": "b"}, scale='{"images": "x"}')]
    with pytest.raises(ConfigError, match="search each in a command of its own"):
        refuse_scales(apart)
    for one in apart:
        refuse_scales([one])
    with pytest.raises(ConfigError, match=r"set dataset.val_fraction=0\.2"):
        refuse_scales([SweepJob(0, [], {}, "", {}, scale='{"images": "none"}')])


def test_a_number_of_jobs_is_taken_then() -> None:
    config = {"device": {"name": "cpu"}, "dataset": {}}
    with pytest.raises(ConfigError, match="from 1 up or null"):
        share_out([config], 0, 0)
    assert share_out([config], 1, 0)


@pytest.mark.parametrize(("typed", "said"), [(None, "add --new to"), ("mine", "give another hydra.sweep.dir to")])
def test_a_damaged_sweep_is_left_for_another(typed: str | None, said: str, tmp_path: Path) -> None:
    place = str(tmp_path / typed) if typed else None
    made = SweepFolder.make(str(tmp_path), place, ["a"], "a command", [])
    made.lock.release()
    (made.path / "jobs.jsonl").write_text("{")
    with pytest.raises(ConfigError) as error:
        SweepFolder.open(made.path, place)
    assert said in str(error.value)
    other = str(tmp_path / "other") if typed else None
    assert SweepFolder.make(str(tmp_path), other, ["a"], "a command", [], again=not typed).is_new


def test_a_changed_sweep_goes_on_or_has_another_folder(commands: Forks, tmp_path: Path) -> None:
    command = [*small_command(tmp_path, tmp_path), "epochs=1", "seed=0"]
    assert commands.told(tmp_path, *command, "hydra.sweep.dir=mine")[0] == 0
    (tmp_path / "conf/model/odd.yaml").write_text("name: odd\nhow: well\npause: 0.01\n")
    code, output = commands.told(tmp_path, *command, "hydra.sweep.dir=mine")
    assert code == 2
    assert "add --frozen to resume that sweep as it was, or give another hydra.sweep.dir to start" in output
    assert commands.told(tmp_path, *command, "hydra.sweep.dir=mine", "--frozen")[0] == 0
    assert commands.told(tmp_path, *command, "hydra.sweep.dir=other")[0] == 0
    code, output = commands.told(tmp_path, *command, "seed=1", "hydra.sweep.dir=mine")
    assert (code, "holds another sweep" in output, "give another folder" in output) == (2, True, True)
