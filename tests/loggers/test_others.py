"""MLflow and Weights & Biases, offline: what their own readers find in their stores on this machine."""

import importlib.util
import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from expkit.config.registry import loggers
from expkit.core.errors import ConfigError
from expkit.loggers.base import Logger, Point, RunFacts
from expkit.loggers.hub import LoggerHub
from expkit.loggers.jsonl import JsonlLogger
from tests.loggers.heard import Heard
from tests.loggers.shown import FIGURES

IMPORTING = pytest.mark.skipif(not os.environ.get("EXPKIT_LONG"), reason="imports for seconds: EXPKIT_LONG=1 runs it")


def build(name: str, folder: Path, **options: Any) -> Logger:
    built: Logger = loggers.build({"name": name, **options}, f"logger.{name}", folder=folder, run_name=folder.name)
    return built


def run_twice(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Log ten points and every figure, then continue from the fourth point as a resumed run does; return messages."""
    monkeypatch.setattr("expkit.loggers.hub.CLOSING", 120.0)
    folder.mkdir()
    heard, offset = Heard(), None
    for first in (1, 5):
        logger = build(name, folder)
        guard = LoggerHub([JsonlLogger(folder / "metrics.jsonl", offset), logger, heard])
        facts = RunFacts("first/run", str(folder), {"optimizer": {"lr": 0.1}, "seed": 1}, {"run": "r"})
        guard.start(RunFacts(**{**vars(facts), "first_step": first - 1}))
        for step in range(first, 11):
            guard.point(Point("step", 0, step, {"loss": 1 / step}))
            offset = guard.metrics_bytes() if step == 4 else offset
        if first == 1:
            for figure in FIGURES:
                guard.show(figure)
        guard.point(Point("epoch", 0, 10, {"val/loss": 0.5}))
        guard.message("a sentence")
        guard.close({"record": "r"})
        assert guard.background[0].done, heard.texts
    return [text for text in heard.texts if text != "a sentence"]


@IMPORTING
@pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="mlflow is not installed")
@pytest.mark.filterwarnings("ignore")  # its own, of SQLAlchemy
def test_mlflow_holds_the_run_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert run_twice(tmp_path / "r", "mlflow", monkeypatch) == []
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("expkit")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("first/run", "FINISHED")
    assert run.data.params == {"optimizer.lr": "0.1", "seed": "1"}
    history = client.get_metric_history(run.info.run_id, "step/loss")
    assert [(metric.step, metric.value) for metric in history] == [(step, 1 / step) for step in range(1, 11)]
    assert client.get_metric_history(run.info.run_id, "val/loss")[0].value == 0.5
    kept = Path(client.download_artifacts(run.info.run_id, "", str(tmp_path)))
    assert np.asarray(Image.open(kept / "val" / "worst_step_00000002.png")).shape == (8, 9, 3)
    assert "| cat | 0.5 |" in (kept / "val" / "classes_step_00000002.md").read_text()
    assert (kept / "log.txt").read_text().startswith("a sentence\nrecord: r\nsee it in mlflow: mlflow ui ")


def stored(path: Path) -> Iterator[bytes]:
    """Yield the records of W&B's file: LevelDB's log (blocks of 32 KiB; checksum, length, kind) after 7 bytes."""
    content, at, parts = path.read_bytes(), 7, b""
    while at + 7 <= len(content):
        if 32_768 - at % 32_768 < 7:
            at += 32_768 - at % 32_768
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


@IMPORTING
@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed")
@pytest.mark.filterwarnings("ignore")
def test_wandb_keeps_the_run_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_twice(tmp_path / "r", "wandb", monkeypatch) == []
    import wandb
    from wandb.proto.wandb_internal_pb2 import Record

    wandb.teardown()  # its service has written everything when it has ended
    first, second = sorted((tmp_path / "r" / "wandb").glob("offline-run-*/*.wandb"), key=lambda path: len(path.name))
    assert (first.name, second.name) == ("run-first-run.wandb", "run-first-run-2.wandb")
    rows: list[dict[str, Any]] = []
    for data in stored(second):
        record = Record()
        record.ParseFromString(data)
        if record.HasField("history"):
            items = record.history.item
            rows.append({item.key or item.nested_key[0]: json.loads(item.value_json) for item in items})
    losses = [(row["optimizer_step"], row["step/loss"]) for row in rows if "step/loss" in row]
    assert losses == [(step, 1 / step) for step in range(1, 11)]
    assert [row["val/loss"] for row in rows if "val/loss" in row] == [0.5]
    shown = {name for row in rows for name in row}
    assert {"val/worst", "weights/conv", "val/classes", "model/summary"} <= shown


def test_what_is_missing_or_wrong_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("wandb"):
        with pytest.raises(ConfigError, match=r"logger\.wandb\.mode: takes offline or online, got 'away'"):
            build("wandb", tmp_path, mode="away")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    for name in ("mlflow", "wandb"):
        with pytest.raises(ConfigError, match=rf"install expkit\[{name}\]"):
            build(name, tmp_path)
