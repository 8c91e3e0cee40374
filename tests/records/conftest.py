"""A record of a small real data set, and a cache of fingerprints that lies in the test's own folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from expkit.data.dataset import Splits
from expkit.data.datasets import load
from expkit.records.writer import Record

Config = dict[str, Any]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def config(small_config: Callable[..., Config]) -> Config:
    return small_config()


@pytest.fixture
def splits(config: Config) -> Splits:
    return load(config["dataset"])


@pytest.fixture
def record(tmp_path: Path, config: Config, splits: Splits, monkeypatch: pytest.MonkeyPatch) -> Record:
    """A record of the user's folder, begun and not closed, with two points."""
    work = tmp_path / "work"
    (work / "run").mkdir(parents=True)
    monkeypatch.chdir(work)
    begun = Record(work / "run", config, ["epochs=2"], "python -m expkit.run epochs=2")
    begun.data(splits)
    lines = [
        '{"kind": "step", "epoch": 0, "step": 1, "loss": 1.5}',
        '{"kind": "step", "epoch": 0, "step": 2, "loss": 1}',
    ]
    (work / "run" / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return begun
