"""A search as a user starts it: real trials in processes of their own, pruned, killed, and resumed."""

import json
import os
import signal
from pathlib import Path

import pytest
import yaml

from tests.forks import Forks, wait_until
from tests.sweeps.test_sweep import ledger, rows, some_checkpoint, sweep_folder

pytest.importorskip("optuna", reason="needs the extra optuna: pip install 'expkit[optuna]'")

# A model whose loss is known: it bets on the first class, and the more it bets the more it loses.
PLUGIN = """
import time
import torch
from torch import nn
from typing import Literal
from expkit.config.registry import models

class Better(nn.Module):
    def __init__(self, classes, bet, pause, how):
        super().__init__()
        self.body = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, classes))
        self.bet, self.pause, self.how = bet, pause, how
    def forward(self, images):
        logits = self.body(images) * 0.0
        if self.training and torch.is_grad_enabled():
            time.sleep(self.pause)
            if self.how == "raise":
                raise ValueError("an odd model")
            if self.how == "lost":
                return logits * float("nan")
        first = torch.zeros_like(logits)
        first[:, 0] = self.bet
        return logits + first

@models.register("better")
def better(
    num_classes: int, bet: float = 0.0, pause: float = 0.0, how: Literal["well", "raise", "lost"] = "well"
) -> nn.Module:
    return Better(num_classes, bet, pause, how)
"""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("drawn")


def command(folder: Path, drawn: Path, *more: str) -> list[str]:
    """Return a search's command line, whose own words are laid into the folder where it will be given."""
    folder.mkdir(exist_ok=True)
    (folder / "better.py").write_text(PLUGIN)
    (folder / "conf/model").mkdir(parents=True, exist_ok=True)
    (folder / "conf/model/better.yaml").write_text("name: better\nbet: 0.0\npause: 0.0\nhow: well\n")
    shapes = [f"dataset.root={drawn}/shapes", "dataset.size=16", "dataset.train_images=20", "dataset.val_images=10"]
    own = ["dataset.num_workers=0", "batch_size=10", "model=better", "logger=none", "watch=none"]
    search = ["hydra/sweeper=search", "checkpoint.monitor=loss", "hydra.sweeper.startup_trials=2"]
    return ["-m", "--plugin", "better.py", *shapes, *own, *search, *more]


SLOW = [
    "model.bet=interval(0,20)", "model.pause=0.15", "epochs=6", "hydra.launcher.n_jobs=1", "hydra.sweeper.n_trials=8",
    "hydra.sweeper.prune_after_trials=2",
]  # fmt: skip


def trials(folder: Path) -> list[tuple[str, str]]:
    """Return the values of every trial, and what came of it."""
    return [(row["model.bet"], row["status"]) for row in rows(folder)]


def test_a_search_prunes(commands: Forks, tmp_path: Path, drawn: Path) -> None:
    code, output = commands.told(tmp_path, *command(tmp_path, drawn, *SLOW))
    assert code == 0, output
    found = trials(tmp_path)
    assert len({bet for bet, _ in found}) == 8
    assert {status for _, status in found} <= {"finished", "pruned"}
    pruned = [row for row in rows(tmp_path) if row["status"] == "pruned"]
    assert all("val/loss" in row["reason"] and int(row["epochs"]) < 6 for row in pruned)
    for row in pruned:
        record = json.loads((sweep_folder(tmp_path) / row["folder"] / "record.json").read_text())
        assert record["status"] == "interrupted"  # its record is whole, with a checkpoint to look at
    assert ("  pruned  " in output) == bool(pruned)  # a trial that was through before it could be stopped is finished


@pytest.mark.skipif("EXPKIT_LONG" not in os.environ, reason="EXPKIT_LONG=1: two whole searches")
def test_a_search_ends_the_same_when_it_was_killed(commands: Forks, tmp_path: Path, drawn: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    code, output = commands.told(whole, *command(whole, drawn, *SLOW))
    assert code == 0, output
    found = trials(whole)
    process = commands.start(killed, *command(killed, drawn, *SLOW))
    wait_until(lambda: (killed / "outputs").exists() and len(ended(killed)) >= 3)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -9
    before = ended(killed)
    code, output = commands.told(killed, *command(killed, drawn, *SLOW))
    assert code == 0, output
    assert "of 8 jobs are finished" in output.splitlines()[0]
    # Whether a trial was stopped in time or was through by then depends on the machine, and the study does not mind.
    assert [bet for bet, _ in trials(killed)] == [bet for bet, _ in found]
    started = [line["job"] for line in ledger(killed) if line["event"] == "started"]
    assert all(started.count(job) == 1 for job in before)
    code, output = commands.told(killed, *command(killed, drawn, *SLOW))
    assert code == 0
    assert "8 of 8 jobs are finished" in output
    assert len([line for line in ledger(killed) if line["event"] == "started"]) == len(started)


def ended(folder: Path) -> list[int]:
    if not list((folder / "outputs/sweeps").glob("*/ledger.jsonl")):
        return []
    return [line["job"] for line in ledger(folder) if line["event"] == "ended"]


def test_failures_are_trials_and_the_best_is_shown(commands: Forks, tmp_path: Path, drawn: Path) -> None:
    swept = ["model.bet=range(0.0,4.0,1.0)", "model.how=well,lost,raise", "epochs=1", "hydra.launcher.n_jobs=2"]
    search = command(tmp_path, drawn, *swept, "hydra.sweeper.sampler=grid", "hydra.sweeper.n_trials=50")
    code, output = commands.told(tmp_path, *search)
    assert code == 0, output
    found = {(row["model.bet"], row["model.how"]): row for row in rows(tmp_path)}
    assert len(found) == 12
    assert {row["status"] for (_, how), row in found.items() if how == "well"} == {"finished"}
    assert {row["status"] for (_, how), row in found.items() if how != "well"} == {"failed"}
    assert "an odd model" in found["0.0", "raise"]["reason"]
    assert "best     model.bet=0.0, model.how=well  outputs/sweeps/" in output
    folder = sweep_folder(tmp_path)
    assert yaml.safe_load((folder / "best.yaml").read_text())["model"] == {"bet": 0.0, "how": "well"}
    assert "model.bet" in (folder / "importance.svg").read_text()
    page = (folder / "sweep.html").read_text()
    assert "importance: each key" in page
    assert "trial by trial" in page
    code, output = commands.told(tmp_path, *search)
    assert code == 0
    assert "12 of 12 jobs are finished" in output  # what failed is a result, and not run again


def test_more_trials_go_on_and_ctrl_c_leaves_a_study_to_go_on_with(
    commands: Forks, tmp_path: Path, drawn: Path
) -> None:
    search = command(
        tmp_path, drawn, "model.bet=interval(0,2)", "model.pause=0.1", "epochs=4", "hydra.launcher.n_jobs=2"
    )
    process = commands.start(tmp_path, *search, "hydra.sweeper.n_trials=3", "hydra.sweeper.pruner=none")
    wait_until(lambda: some_checkpoint(tmp_path))
    os.kill(process.pid, signal.SIGINT)
    assert process.wait() == 130
    output = process.printed()
    assert "interrupted" in output
    assert "resume   the same command runs the 3 unfinished jobs" in output
    code, output = commands.told(tmp_path, *search, "hydra.sweeper.n_trials=4", "hydra.sweeper.pruner=none")
    assert code == 0, output
    assert [status for _, status in trials(tmp_path)] == ["finished"] * 4
    resumed = [line for line in ledger(tmp_path) if line["event"] == "started" and line["resume"]]
    assert resumed
    (tmp_path / "conf/model/better.yaml").write_text("name: better\nbet: 0.0\npause: 0.2\nhow: well\n")
    other = [word for word in search if not word.startswith("model.pause")]
    assert commands.told(tmp_path, *other, "--dry")[0] == 0


def test_a_changed_file_is_named(commands: Forks, tmp_path: Path, drawn: Path) -> None:
    search = command(tmp_path, drawn, "model.bet=interval(0,2)", "epochs=1", "hydra.sweeper.n_trials=1")
    assert commands.told(tmp_path, *search)[0] == 0
    (tmp_path / "conf/model/better.yaml").write_text("name: better\nbet: 0.0\npause: 0.01\nhow: well\n")
    code, output = commands.told(tmp_path, *search)
    assert code == 2
    assert "error: model.pause: 0.0 -> 0.01 (2 of 2 jobs)" in output
    code, output = commands.told(tmp_path, *search, "--new")
    assert code == 0, output
    assert len(list((tmp_path / "outputs/sweeps").iterdir())) == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["model.bet=0.5"], "nothing is to be searched"),
        (["model.how=well,wel"], "model.how: expected one of"),
        (["model.bet=interval(0,2)", "optimizer=sgd,sdg"], "sdg"),
        (["model.bet=interval(0,2)", "hydra.sweeper.sampler=tpee"], "did you mean 'tpe'?"),
        (["model.bet=interval(0,2)", "hydra.sweeper.trials=3"], "hydra.sweeper.trials"),
        (["model.bet=interval(0,2)", "sweep.zip=[model,epochs]"], "is for every combination"),
        (["model.bet=interval(0,2)", "hydra/launcher=basic"], "a search runs on the pool"),
    ],
    ids=lambda given: given[-1] if isinstance(given, list) else "",
)
def test_no_trial_starts_where_one_cannot(
    words: list[str], says: str, commands: Forks, tmp_path: Path, drawn: Path
) -> None:
    code, output = commands.told(tmp_path, *command(tmp_path, drawn, *words))
    assert code == 2, output
    assert says in output
    assert not (tmp_path / "outputs").exists()


def test_dry_shows_what_would_be_tried(commands: Forks, tmp_path: Path, drawn: Path) -> None:
    search = command(tmp_path, drawn, "model.bet=interval(0,2)", "epochs=1", "--dry")
    code, output = commands.told(tmp_path, *search, "hydra.sweeper.n_trials=30")
    assert code == 0, output
    assert "30 trials like these" in output
    assert not (tmp_path / "outputs").exists()
