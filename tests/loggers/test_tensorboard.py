"""TensorBoard's event files, read back with TensorBoard's own reader."""

import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expkit.loggers import backlog
from expkit.loggers.base import Logger, Point, RunFacts
from expkit.loggers.figure_store import FigureStore, read_figures
from expkit.loggers.figures import Embedding, Text
from expkit.loggers.hub import LoggerHub
from expkit.loggers.jsonl import JsonlLogger
from expkit.loggers.tensorboard import TensorBoardLogger
from tests.loggers.shown import FIGURES, PICTURE


def read(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0}).Reload()


def guard_of(folder: Path, offset: int | None = None) -> LoggerHub:
    return LoggerHub([JsonlLogger(folder / "metrics.jsonl", offset), TensorBoardLogger(folder, 30)])


def test_all_kinds_are_read_back(tmp_path: Path) -> None:
    guard = guard_of(tmp_path)
    guard.start(RunFacts("r", str(tmp_path), {"optimizer": {"lr": 0.1}}, {}))
    guard.point(Point("step", 0, 1, {"loss": 0.5}))
    guard.point(Point("epoch", 0, 2, {"val/accuracy": 0.75, "lr": 0.1}))
    for figure in FIGURES:
        guard.show(figure)
    guard.message("a sentence")
    guard.close({})
    seen = read(tmp_path)
    assert [(event.step, event.value) for event in seen.Scalars("step/loss")] == [(1, 0.5)]
    assert seen.Scalars("val/accuracy")[0].value == 0.75
    assert seen.Scalars("final/val/accuracy")[0].value == 0.75
    assert set(seen.Tags()["images"]) == {"val/worst", "val/pr"}
    (image,) = seen.Images("val/worst")
    assert (image.width, image.height, image.step) == (9, 8, 2)
    (histogram,) = seen.Histograms("weights/conv")
    assert histogram.histogram_value.num == 7
    assert list(histogram.histogram_value.bucket) == [0, 3, 4]
    tensors = set(seen.Tags()["tensors"])
    assert {"val/classes/text_summary", "model/summary/text_summary", "log/text_summary"} <= tensors
    assert seen.Tags()["graph"]
    assert b"conv" in seen.Graph().SerializeToString()
    plugins = seen.PluginTagToContent("hparams")
    assert {"_hparams_/experiment", "_hparams_/session_start_info"} <= set(plugins)
    assert (tmp_path / "projector_config.pbtxt").is_file()


def test_a_resumed_run_has_no_step_twice(tmp_path: Path) -> None:
    guard = guard_of(tmp_path)
    guard.start(RunFacts("r", str(tmp_path), {}, {}))
    for step in (1, 2):
        guard.point(Point("step", 0, step, {"loss": float(step)}))
    guard.show(PICTURE)
    kept = guard.metrics_bytes()
    for step in (3, 4):  # after the checkpoint: made again
        guard.point(Point("step", 0, step, {"loss": -1.0}))
    guard.show(Text("late", 0, 4, "is made again"))
    guard.close({})
    guard = guard_of(tmp_path, kept)
    guard.start(RunFacts("r", str(tmp_path), {}, {}, first_step=2))
    for step in (3, 4):
        guard.point(Point("step", 0, step, {"loss": float(step)}))
    guard.close({})
    seen = read(tmp_path)
    assert [(event.step, event.value) for event in seen.Scalars("step/loss")] == [(1, 1), (2, 2), (3, 3), (4, 4)]
    assert [event.step for event in seen.Images("val/worst")] == [2]
    assert (tmp_path / "metrics.jsonl").read_text().count("\n") == 4
    assert [figure.name for figure, _ in read_figures(tmp_path)] == ["val/worst"]


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: type(figure).__name__)
def test_an_exhibit_is_kept_exactly(tmp_path: Path, figure: Any) -> None:
    guard = LoggerHub([JsonlLogger(tmp_path / "metrics.jsonl")])
    guard.start(RunFacts("r", str(tmp_path), {}, {}))
    guard.show(figure)
    guard.close({})
    ((kept, _),) = read_figures(tmp_path)
    assert type(kept) is type(figure)
    for name, value in vars(figure).items():
        if isinstance(value, np.ndarray):
            assert np.array_equal(getattr(kept, name), value)
            assert getattr(kept, name).dtype == value.dtype
    assert (kept.name, kept.epoch, kept.step) == (figure.name, 0, 2)


def test_many_points_wait_on_disk_not_in_memory(tmp_path: Path) -> None:
    guard = guard_of(tmp_path)
    most = 3 * backlog.MOST_WAITING
    (waiting,) = guard.background
    for step in range(most):  # before it is started: a backend that hangs from the first moment on
        guard.point(Point("step", 0, step, {"loss": float(step)}))
    assert len(waiting.backlog.queue) <= backlog.MOST_WAITING
    waiting.begin(RunFacts("r", str(tmp_path), {}, {}), backlog.Journal(tmp_path / "metrics.jsonl", tmp_path), 0, 0)
    waiting.finish({})
    waiting.join(30)
    assert [event.step for event in read(tmp_path).Scalars("step/loss")] == list(range(most))


@pytest.mark.parametrize("pause", [0.0, 0.6], ids=["queued", "already written"])
def test_a_run_that_goes_back_has_no_step_twice(tmp_path: Path, pause: float) -> None:
    """As with on_nan=roll_back; pause: seconds, in which the backend gets what is made again, or does not."""
    guard = guard_of(tmp_path)
    guard.start(RunFacts("r", str(tmp_path), {}, {}))
    for step in range(1, 11):
        guard.point(Point("step", 0, step, {"loss": float(step) if step < 4 else -1.0}))
        if step == 3:
            guard.show(PICTURE)
            kept = guard.metrics_bytes()
    guard.show(Text("late", 0, 9, "is made again"))
    time.sleep(pause)
    guard.cut_metrics(kept, 3)
    for step in range(4, 11):
        guard.point(Point("step", 0, step, {"loss": float(step)}))
    guard.show(Text("later", 0, 9, "was made again"))
    guard.close({})
    seen = read(tmp_path)
    assert [(event.step, event.value) for event in seen.Scalars("step/loss")] == [(step, step) for step in range(1, 11)]
    assert [event.step for event in seen.Images("val/worst")] == [2]
    assert "later/text_summary" in seen.Tags()["tensors"]
    assert [figure.name for figure, _ in read_figures(tmp_path)] == ["val/worst", "later"]


class Keeps(Logger):
    """A user's logger, which cannot be emptied; its first point takes it long."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def point(self, point: Point) -> None:
        time.sleep(0 if self.steps else 0.5)
        self.steps.append(point.step)


def test_a_logger_that_cannot_be_emptied_gets_no_step_that_was_cut(tmp_path: Path) -> None:
    logger = Keeps()
    guard = LoggerHub([JsonlLogger(tmp_path / "metrics.jsonl"), logger])
    for step in range(1, 11):
        guard.point(Point("step", 0, step, {"loss": 1.0}))
        if step == 3:
            kept = guard.metrics_bytes()
    guard.start(RunFacts("r", str(tmp_path), {}, {}))
    time.sleep(0.2)  # it is at its first point
    guard.cut_metrics(kept, 3)
    for step in range(4, 7):
        guard.point(Point("step", 0, step, {"loss": 1.0}))
    guard.close({})
    assert logger.steps == list(range(1, 7))


def test_embeddings_that_wait_take_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guard = guard_of(tmp_path)
    guard._store = FigureStore(tmp_path)
    (waiting,) = guard.background
    vectors = np.zeros((1000, 1024), np.float32)  # 4 MB
    monkeypatch.setattr(backlog, "MOST_BYTES", 8 * 2**20)
    for step in range(6):  # the backend does not even start
        guard.show(Embedding("val/embedding", 0, step, vectors + step, ["a"] * 1000))
    held = sum(item.content.vectors.nbytes for item in waiting.backlog.queue)  # type: ignore[union-attr]
    assert held <= backlog.MOST_BYTES + vectors.nbytes
    assert len(list(read_figures(tmp_path))) == 6
