"""Run folders for tests, written as a run writes them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from expkit.loggers.base import Point
from expkit.loggers.figure_store import FigureStore
from expkit.loggers.figures import Curves, Embedding, Figure, Graph, Histogram, Matrix, Picture, Table, Text
from expkit.loggers.jsonl import JsonlLogger

NASTY = """<script>document.title='hacked'</script>"><img src=x onerror="document.title='hacked'">'&amp; ähnlich"""


def write_run(folder: Path, status: str = "finished", epochs: int = 3, config: dict[str, Any] | None = None,
              accuracy: float = 0.9, text: str = "cat") -> Path:  # fmt: skip
    folder.mkdir(parents=True)
    config = {"epochs": 3, "optimizer": {"name": "adamw", "lr": 0.003}, "dataset": {"root": text}} | (config or {})
    facts: dict[str, Any] = {"id": folder.name, "status": status, "started": "2026-01-02T03:04:05+0000"}
    facts |= {"command": f"python -m expkit.run dataset.root={text}"}
    facts |= {"reason": f"it could not read {text}"} if status == "failed" else {}
    splits = {name: {"images": 40, "fingerprint": "0" * 64} for name in ("train", "val")}
    for name, value in {
        "record.json": facts, "env.json": {"python": "3.11", "packages": {"torch": "2.15"}, "gpus": [], "threads": 2},
        "data.json": {"class_names": [text, "dog"], "notes": [text], **splits}, "code.json": {"commit": None},
    }.items():  # fmt: skip
        (folder / name).write_text(json.dumps(value))
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (folder / "overrides.yaml").write_text(yaml.safe_dump([f"dataset.root={text}"]))
    logger = JsonlLogger(folder / "metrics.jsonl")
    for epoch in range(epochs):
        logger.point(Point("step", epoch, 10 * epoch + 5, {"loss": 1.0 / (epoch + 1), "lr": 0.1}))
        share = accuracy * (epoch + 1) / epochs
        scores = {"train/loss": 0.5, "train/accuracy": share, "val/loss": 1 - share, "val/accuracy": share}
        times = {"lr": 0.1, "seconds": 2.0, "images_per_second": 100.0, "data_wait": 0.1}
        logger.point(Point("epoch", epoch, 10 * epoch + 10, scores | times))
    logger.close({})
    if status == "finished":
        result = {"epochs": epochs, "steps": 10 * epochs, "scores": {"val/accuracy": accuracy}, "seconds": 2.5 * epochs}
        (folder / "result.json").write_text(json.dumps(result))
    return folder


def show_all(folder: Path, text: str = "cat") -> list[Figure]:
    """Keep one exhibit of every kind in a run folder."""
    pixels = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    vectors = np.random.default_rng(1).normal(size=(12, 5)).astype(np.float32)
    place = (2, 30)
    exhibits: list[Figure] = [
        Picture("val/predictions", *place, pixels, text),
        Matrix("val/confusion_matrix", *place, ["true", text, "dog"], [[text, 8, 2], ["dog", 0, 10]]),
        Table("val/per_class", *place, ["class", "precision", "samples"], [[text, 0.5, 10], ["dog", 0.25, 10]]),
        Table("model/summary", 0, 0, ["layer", "kind", "output", "parameters", "operations (FLOPs)"],
              [[text, "Conv2d", "4 × 4", 12, 99], ["all", "Net", text, 12, 99]]),
        Curves("val/calibration", *place, text, text, {text: ([0.1, 0.9], [0.2, 0.8])}),
        Histogram(f"weights/{text}", *place, np.linspace(-1, 1, 6), np.arange(5.0)),
        Embedding("val/embedding", *place, vectors, [text, "dog"] * 6),
        Graph("model/graph", 0, 0, [(text, "Conv2d", [text], [4, 4])]),
        Text("model/words", 0, 0, text),
    ]  # fmt: skip
    store = FigureStore(folder, first_step=10**9)
    for exhibit in exhibits:
        store.keep(exhibit)
    store.close()
    return exhibits
