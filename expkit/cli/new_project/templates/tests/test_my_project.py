"""The data set and the model of my_project train together, and learn more than guessing."""

from pathlib import Path

import pytest

import expkit

PROJECT = Path(__file__).parents[1]


def test_it_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)  # the folder of conf/
    smaller = ["dataset.images=150", f"dataset.root={tmp_path}/data", f"output_dir={tmp_path}/outputs", "logger=none"]
    run = expkit.train(["experiment=first", "epochs=4", "batch_size=8", *smaller], plugins=["my_project.py"])
    assert run.status == "finished"
    assert run.scores["val/accuracy"] > 0.6  # of three classes, guessing gets a third
    assert set(run.load().predict([next(tmp_path.rglob("*.png"))])[0]) == {"checks", "columns", "rows"}
