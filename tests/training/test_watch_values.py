"""What watchers measure after an evaluation: in the point of its epoch, and good for checkpoint.monitor."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from expkit.config.hydra_loader import Config
from expkit.config.registry import watchers
from expkit.core.errors import ConfigError
from expkit.loggers.base import Point
from expkit.runs.build import build
from expkit.runs.train import train as train_run
from expkit.training.watch import Watcher
from expkit.training.watch.base import Shown, Where

VALUES = [0.3, 0.9, 0.5]  # of the epochs


class Measuring(Watcher):
    scores = {"measured": True}  # noqa: RUF012

    def __init__(self, name: str = "measured") -> None:
        self.name = name

    def evaluated(self, where: Where) -> Shown:
        return [Point("epoch", where.epoch, where.step, {self.name: torch.tensor(VALUES[where.epoch])})]  # type: ignore[dict-item]


class Unsaid(Measuring):
    scores = {}  # noqa: RUF012


class Failing(Measuring):
    def evaluated(self, where: Where) -> Shown:
        raise ValueError("cannot measure")


@pytest.fixture(autouse=True)
def _words(monkeypatch: pytest.MonkeyPatch) -> None:
    watchers.names()
    monkeypatch.setattr(watchers, "_entries", dict(watchers._entries))
    watchers.register("measuring")(lambda: Measuring())
    watchers.register("of_val")(lambda: Measuring("val/measured"))
    watchers.register("unsaid")(lambda: Unsaid())
    watchers.register("failing")(lambda: Failing())


@pytest.fixture
def go(small_config: Callable[..., Config], tmp_path: Path) -> Callable[..., Path]:
    """Return a function that trains three epochs with a watcher; returns the run folder."""

    def going(watcher: str, *more: str) -> Path:
        config = small_config("watch=none", "epochs=3", "checkpoint.keep_last=1", *more)
        config["watch"] = {"own": {"name": watcher}}
        train_run(config, list(more), "python -m expkit.run …")
        return max((tmp_path / "outputs").iterdir(), key=lambda path: path.stat().st_mtime_ns)

    return going


def points(folder: Path, kind: str) -> list[dict[str, Any]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [one for one in map(json.loads, lines) if one["kind"] == kind]


@pytest.mark.parametrize(("watcher", "name"), [("measuring", "measured"), ("of_val", "val/measured")])
def test_each_value_is_in_its_own_epoch_s_point(watcher: str, name: str, go: Callable[..., Path]) -> None:
    folder = go(watcher, "log_every=1")
    assert [point[name] for point in points(folder, "epoch")] == pytest.approx(VALUES)
    assert not [point for point in points(folder, "step") if name in point]
    assert "measured 0.5000" in (folder / "log.txt").read_text()


@pytest.mark.parametrize(
    ("watcher", "words", "best"),
    [
        ("measuring", ["checkpoint.monitor=measured"], 1),
        ("of_val", ["checkpoint.monitor=measured"], 1),
        ("of_val", ["checkpoint.monitor=val/measured"], 1),
        ("measuring", ["checkpoint.monitor=measured", "+checkpoint.higher_is_better=false"], 0),
        ("unsaid", ["checkpoint.monitor=measured", "+checkpoint.higher_is_better=true"], 1),
    ],
)
def test_it_says_which_checkpoint_is_best(watcher: str, words: list[str], best: int, go: Callable[..., Path]) -> None:
    result = json.loads((go(watcher, *words) / "result.json").read_text())
    assert result["monitor"] == "measured"
    assert result["best_score"] == pytest.approx(VALUES[best])
    assert result["best"].startswith(f"epoch_{best + 1:04d}")


def test_it_stops_early_and_lowers_the_rate(go: Callable[..., Path]) -> None:
    words = ["checkpoint.monitor=measured", "+checkpoint.higher_is_better=false", "early_stopping_patience=1"]
    plateau = ["schedule=torch", "schedule.name=ReduceLROnPlateau", "+schedule.patience=0", "optimizer.lr=0.5"]
    found = points(go("measuring", *words, *plateau), "epoch")
    assert len(found) == 2
    words[2] = "early_stopping_patience=null"
    assert [one["lr"] for one in points(go("measuring", *words, *plateau), "epoch")] == [0.5, 0.5, pytest.approx(0.05)]


def test_what_no_watcher_measures_is_said(go: Callable[..., Path]) -> None:
    folder = go("failing", "checkpoint.monitor=measured")
    assert "no watcher measured 'measured' in this epoch" in (folder / "log.txt").read_text()
    assert json.loads((folder / "record.json").read_text())["status"] == "finished"


@pytest.mark.parametrize(
    ("watch", "words", "sentence"),
    [
        ({"name": "measuring"}, ["checkpoint.monitor=mesured"], "there is no score 'mesured'; there is measured, acc"),
        ({"name": "unsaid"}, ["checkpoint.monitor=measured"], r"add \+checkpoint.higher_is_better=true or false"),
        ({"name": "measuring", "every": 2}, ["checkpoint.monitor=measured"], "every 2 epochs; set watch.own.every=1"),
    ],
)
def test_a_score_that_is_not_there_is_refused(
    watch: dict[str, Any], words: list[str], sentence: str, small_config: Callable[..., Config]
) -> None:
    config = small_config(*words)
    config["watch"] = {"own": watch}
    with pytest.raises(ConfigError, match=sentence):
        build(config)
