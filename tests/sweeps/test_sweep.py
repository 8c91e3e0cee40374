"""Sweeps as a user starts them: real processes, real signals, real crashes, and the same command again."""

import csv
import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.forks import Forks, wait_until

# A model that does what a job must survive, once it trains; and one whose steps take a while.
PLUGIN = """
import os, signal, time
import torch
from torch import nn
from typing import Literal
from expkit.config.registry import models

class Odd(nn.Module):
    def __init__(self, classes, how, pause):
        super().__init__()
        self.body = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, classes))
        self.how, self.pause = how, pause
    def forward(self, images):
        if self.training and torch.is_grad_enabled():
            time.sleep(self.pause)
            if self.how == "raise":
                raise ValueError("an odd model")
            if self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.how == "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            if self.how == "memory":
                torch.empty(2**60)
        return self.body(images)

@models.register("odd")
def odd(
    num_classes: int, how: Literal["well", "raise", "kill", "crash", "memory"] = "well", pause: float = 0.0
) -> nn.Module:
    return Odd(num_classes, how, pause)
"""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("drawn")


@pytest.fixture
def small(tmp_path: Path, drawn: Path) -> list[str]:
    return small_command(tmp_path, drawn)


def small_command(folder: Path, drawn: Path) -> list[str]:
    """Return the beginning of a command line, whose own words are laid into the folder where it will be given."""
    (folder / "odd.py").write_text(PLUGIN)
    (folder / "conf/model").mkdir(parents=True)
    (folder / "conf/model/odd.yaml").write_text("name: odd\nhow: well\npause: 0.0\n")
    shapes = [f"dataset.root={drawn}/shapes", "dataset.size=16", "dataset.train_images=20", "dataset.val_images=10"]
    own = ["dataset.num_workers=0", "batch_size=10", "model=odd", "epochs=2", "logger=none"]
    return ["-m", "--plugin", "odd.py", *shapes, *own]


def sweep_folder(folder: Path) -> Path:
    found = sorted((folder / "outputs/sweeps").iterdir())
    return found[-1]


def rows(folder: Path) -> list[dict[str, str]]:
    with open(sweep_folder(folder) / "results.csv", newline="") as file:
        return list(csv.DictReader(file))


def ledger(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (sweep_folder(folder) / "ledger.jsonl").read_text().splitlines()]


def digests(folder: Path) -> dict[str, str]:
    """Return the weights of every job that is finished, by number."""
    found = {}
    for path in sweep_folder(folder).glob("*/result.json"):
        if json.loads((path.parent / "record.json").read_text())["status"] == "finished":
            found[path.parent.name.partition("-")[0]] = json.loads(path.read_text())["weights_sha256"]
    return found


def test_a_crash_is_a_line_in_the_table(commands: Forks, small: list[str], tmp_path: Path) -> None:
    code, output = commands.told(tmp_path, *small, "model.how=well,raise,kill,crash,memory", "seed=0")
    assert code == 1
    found = rows(tmp_path)
    assert [row["status"] for row in found] == ["finished", "failed", "failed", "failed", "failed"]
    reasons = [row["reason"] for row in found]
    assert "ValueError: an odd model" in reasons[1]
    assert "SIGKILL" in reasons[2]
    assert "SIGSEGV" in reasons[3]
    assert "memory ran out" in reasons[4]
    assert output.count("[5/5]") == 1
    assert "composing 5 jobs\n" in output
    assert "checking 5 jobs\n" in output
    assert all(f"job {number}  model.how={how}  started" in output for number, how in enumerate(("well", "raise")))
    assert "best     model.how=well  outputs/sweeps/" in output
    code, output = commands.told(tmp_path, *small, "model.how=well,raise,kill,crash,memory", "seed=0")
    assert code == 1
    started = [line["job"] for line in ledger(tmp_path) if line["event"] == "started"]
    assert sorted(started) == [0, 1, 1, 2, 2, 3, 3, 4, 4]  # the finished one is not run again


def test_seeds_are_one_row_and_the_recipe_composes(commands: Forks, small: list[str], tmp_path: Path) -> None:
    swept = ["optimizer.lr=0.1,0.0001", "optimizer=sgd", "seed=0,1,2"]
    code, output = commands.told(tmp_path, *small, *swept)
    assert code == 0
    results = json.loads((sweep_folder(tmp_path) / "results.json").read_text())
    assert [group["seeds"] for group in results["groups"]] == [3, 3]
    of_best = [job["score"] for job in results["jobs"] if job["job"] in results["groups"][0]["jobs"]]
    assert results["groups"][0]["mean"] == pytest.approx(sum(of_best) / 3)
    record = json.loads((sweep_folder(tmp_path) / results["jobs"][0]["folder"] / "record.json").read_text())
    assert record["command"].startswith("python -m expkit.run --plugin odd.py ")
    assert "-m " not in record["command"].removeprefix("python -m ")
    recipe = (sweep_folder(tmp_path) / "best.yaml").read_text()
    (tmp_path / "conf/experiment").mkdir()
    (tmp_path / "conf/experiment/best.yaml").write_text(recipe)
    code, output = commands.told(tmp_path, "--plugin", "odd.py", "experiment=best", "--cfg=job")
    assert code == 0
    assert "/shapes" not in recipe  # a place of this machine
    best = results["groups"][0]["differs"]["optimizer.lr"]
    config = yaml.safe_load(output)
    assert config["optimizer"] | {"lr": float(best)} == config["optimizer"]
    assert config["optimizer"]["name"] == "sgd"


@pytest.mark.parametrize(
    ("swept", "says"),
    [
        (["sampler=weighted", "sampler.class_weights={circle: 2},{dog: 2}"], "dog"),
        (["checkpoint.monitor=accuracy,acuracy"], "there is no score 'acuracy'"),
        (["checkpoint.init_from=null,missing.safetensors"], "missing.safetensors"),
        (["epochs=0,1", "optimizer.lr=0.1,fast"], "job 0, 1; 2 of 4)\nerror: optimizer.lr"),
        (["batch_size=10,0"], "batch_size: expected an integer from 1 up"),
        (["optimizer.lr=0.1,fast"], "optimizer.lr: expected"),
        (["transforms=small,imagenet", "transforms.image_size=16,-3"], "-3"),
    ],
    ids=lambda given: given[0] if isinstance(given, list) else "",
)
def test_no_job_starts_where_one_cannot(
    swept: list[str], says: str, commands: Forks, small: list[str], tmp_path: Path
) -> None:
    code, output = commands.told(tmp_path, *small, *swept)
    assert code == 2, output
    assert says in output
    lines = [line for line in output.split("\n") if line and not line.startswith(("composing ", "checking "))]
    assert all(line.startswith("error: ") for line in lines), output
    assert not (tmp_path / "outputs").exists()


def test_dry_shows_the_jobs_and_starts_none(commands: Forks, small: list[str], tmp_path: Path) -> None:
    code, output = commands.told(
        tmp_path, *small, "--dry", "model.pause=0.02,0.2", "hydra.launcher.n_jobs=2", "epochs=30"
    )
    assert code == 0
    lines = [line for line in output.splitlines() if line]
    assert lines[0].split() == ["job", "model.pause", "parameters", "steps", "about"]
    assert lines[1].split()[:4] == ["0", "0.02", "65", "60"]
    assert "2 jobs, 2 at a time: about 1" in output  # 60 steps of 0.2 s and somewhat more
    assert not (tmp_path / "outputs").exists()


SLOW = ["model.pause=0.05", "epochs=8", "seed=0,1,2", "hydra.launcher.n_jobs=2"]


def some_checkpoint(folder: Path) -> bool:
    return bool(list(folder.glob("outputs/sweeps/*/*/checkpoints/*.json")))


@pytest.fixture(scope="module")
def undisturbed(commands: Forks, drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the weights that the slow sweep ends with when nobody disturbs it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    code, output = commands.told(folder, *small_command(folder, drawn), *SLOW)
    assert code == 0, output
    found = digests(folder)
    assert len(found) == 3
    return found


long_only = pytest.mark.skipif("EXPKIT_LONG" not in os.environ, reason="EXPKIT_LONG=1: as for SIGINT")


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, pytest.param(signal.SIGTERM, marks=long_only), signal.SIGKILL],
    ids=lambda number: number.name,
)
def test_a_sweep_that_was_ended_is_finished_by_the_same_command(
    number: signal.Signals, commands: Forks, small: list[str], tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    process = commands.start(tmp_path, *small, *SLOW)
    wait_until(lambda: some_checkpoint(tmp_path))
    os.kill(process.pid, number)
    code = process.wait()
    assert code == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[number]
    output = process.printed()
    if number != signal.SIGKILL:
        assert output.count("interrupted") >= 2
        assert "resume   the same command runs the 3 unfinished jobs" in output
        statuses = {json.loads(path.read_text())["status"] for path in sweep_folder(tmp_path).glob("*/record.json")}
        assert statuses == {"interrupted"}
    code, output = commands.told(tmp_path, *small, *SLOW)
    assert code == 0, output
    assert "jobs are finished" in output.splitlines()[0]
    assert digests(tmp_path) == undisturbed
    assert len(list(sweep_folder(tmp_path).glob("*/record.json"))) == 3  # resumed in place, none started anew
    resumed = [line for line in ledger(tmp_path) if line["event"] == "started" and line["resume"]]
    assert len(resumed) >= 2
    code, output = commands.told(tmp_path, *small, *SLOW)
    assert code == 0
    assert "3 of 3 jobs are finished" in output
    assert len([line for line in ledger(tmp_path) if line["event"] == "started"]) == 3 + len(resumed)


@long_only
def test_a_sweep_that_is_killed_again_and_again_ends_the_same(
    commands: Forks, small: list[str], tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    draws, kills, code = random.Random(5), 0, -9
    while code == -9 and kills < 40:
        process = commands.start(tmp_path, *small, *SLOW)
        time.sleep(draws.uniform(1.0, 4.0))
        os.kill(process.pid, signal.SIGKILL)  # one that has ended is still there until it is waited for
        code = process.wait()
        kills += code == -9
    print(f"killed {kills} times")
    assert code == 0, process.printed()
    assert kills >= 3
    assert digests(tmp_path) == undisturbed


def test_a_file_that_changes_meanwhile_changes_nothing(commands: Forks, small: list[str], tmp_path: Path) -> None:
    choice = tmp_path / "conf/model/odd.yaml"
    choice.write_text("name: odd\npause: 0.05\n")
    command = [*small, "epochs=6", "seed=0,1", "hydra.launcher.n_jobs=1"]
    process = commands.start(tmp_path, *command)
    wait_until(lambda: some_checkpoint(tmp_path))
    choice.write_text("name: odd\npause: 0.06\n")
    assert process.wait() == 0
    configs = [yaml.safe_load(path.read_text()) for path in sweep_folder(tmp_path).glob("*/config.yaml")]
    assert [config["model"]["pause"] for config in configs] == [0.05, 0.05]


def test_a_changed_base_is_shown_and_refused(commands: Forks, small: list[str], tmp_path: Path) -> None:
    choice = tmp_path / "conf/model/odd.yaml"
    choice.write_text("name: odd\npause: 0.05\n")
    command = [*small, "epochs=4", "seed=0,1", "hydra.launcher.n_jobs=1"]
    process = commands.start(tmp_path, *command)
    wait_until(lambda: some_checkpoint(tmp_path))
    os.kill(process.pid, signal.SIGINT)
    assert process.wait() == 130
    choice.write_text("name: odd\npause: 0.0\n")
    code, output = commands.told(tmp_path, *command)
    assert code == 2
    assert "error: model.pause: 0.05 -> 0.0 (2 of 2 jobs)" in output
    assert "--frozen" in output.splitlines()[-1]
    code, output = commands.told(tmp_path, *command, "--frozen")
    assert code == 0
    configs = [yaml.safe_load(path.read_text()) for path in sweep_folder(tmp_path).glob("*/config.yaml")]
    assert [config["model"]["pause"] for config in configs] == [0.05, 0.05]
    code, output = commands.told(tmp_path, *command, "--new")
    assert code == 0
    assert len(list((tmp_path / "outputs/sweeps").iterdir())) == 2


def test_two_of_one_sweep_do_not_run_at_once(commands: Forks, small: list[str], tmp_path: Path) -> None:
    command = [*small, "model.pause=0.05", "epochs=40", "seed=0,1"]
    process = commands.start(tmp_path, *command)
    wait_until(lambda: some_checkpoint(tmp_path))
    other = commands.start(tmp_path, *command)
    assert other.wait() == 2
    assert process.wait() == 0
    assert "is in use by process" in other.printed()


def test_the_same_sweep_typed_twice_at_once_runs_once(commands: Forks, small: list[str], tmp_path: Path) -> None:
    command = [*small, "model.pause=0.05", "epochs=20", "seed=0,1"]
    both = [commands.start(tmp_path, *command) for _ in range(2)]
    assert sorted(process.wait() for process in both) == [0, 2]
    refused = next(process for process in both if process.wait() == 2)
    assert "is in use by process" in refused.printed()
    assert len(list((tmp_path / "outputs/sweeps").iterdir())) == 1
    assert len(ledger(tmp_path)) == 4
    assert commands.told(tmp_path, *command, "--new")[0] == 0
    assert len(list((tmp_path / "outputs/sweeps").iterdir())) == 2


def test_the_joblib_launcher_gets_frozen_files(commands: Forks, small: list[str], tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs hydra-joblib-launcher")
    choice = tmp_path / "conf/model/odd.yaml"
    choice.write_text("name: odd\npause: 0.1\n")
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "epochs=4", "seed=0,1,2,3"]
    process = commands.start(tmp_path, *small, *launcher)
    wait_until(lambda: list(tmp_path.glob("outputs/*/config.yaml")), 120)
    choice.write_text("name: odd\npause: 0.2\n")
    assert process.wait() == 0, process.printed()
    configs = [yaml.safe_load(path.read_text()) for path in tmp_path.glob("outputs/*/config.yaml")]
    assert [config["model"]["pause"] for config in configs] == [0.1] * 4
