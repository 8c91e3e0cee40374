"""python -m expkit replay: a finished run shown to a backend that was not there."""

import json
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from expkit.api import Run
from expkit.cli.replay import main
from tests.loggers.servers import free_port, panes_of


def code_of(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def points_of(run: Path, kind: str) -> list[dict[str, float]]:
    points = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [point for point in points if point["kind"] == kind]


def test_visdom_gets_all_of_a_finished_run(small_run: Run, visdom_port: int) -> None:
    run = small_run.folder
    assert code_of(str(run), "logger=visdom", f"logger.visdom.port={visdom_port}") == 0
    held = panes_of(visdom_port, run.name)
    traces = {trace["name"]: (trace["x"], trace["y"]) for trace in held["loss"]["content"]["data"]}
    epochs = points_of(run, "epoch")
    assert traces["val"] == ([point["step"] for point in epochs], [point["val/loss"] for point in epochs])
    exhibits = [json.loads(line)["name"] for line in (run / "exhibits.jsonl").read_text().splitlines()]
    assert exhibits
    assert {name.replace("/", "_") for name in exhibits} <= set(held)


def test_both_are_filled_and_the_run_stays_as_it_is(
    small_run: Run,
    visdom_port: int,
    tmp_path: Path,
) -> None:
    """TensorBoard's events go into the run's folder: here a copy of it."""
    run = tmp_path / "copied"
    run.mkdir()
    for name in ("metrics.jsonl", "exhibits.jsonl", "config.yaml"):
        (run / name).write_bytes((small_run.folder / name).read_bytes())
    (run / "pictures").symlink_to(small_run.folder / "pictures")
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    for _ in range(2):  # the second time makes no step double
        assert code_of(str(run), "logger=[tensorboard,visdom]", f"logger.visdom.port={visdom_port}") == 0
    assert {name: (run / name).read_bytes() for name in before} == before
    seen = EventAccumulator(str(run)).Reload()
    assert [event.step for event in seen.Scalars("val/loss")] == [point["step"] for point in points_of(run, "epoch")]
    assert "loss" in panes_of(visdom_port, "copied")


def test_a_server_that_is_down_is_told(small_run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(str(small_run.folder), "logger=visdom", f"logger.visdom.port={free_port()}") == 1
    told = capsys.readouterr().err
    assert told.startswith("error: visdom: ConnectionError: ")
    assert "start the server with: python -m expkit visdom" in told


def test_mistakes_are_told(small_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(str(tmp_path), "logger=visdom") == 2
    assert "it has no metrics.jsonl; give a run folder" in capsys.readouterr().err
    assert code_of(str(small_run.folder), "epochs=3") == 2
    assert capsys.readouterr().err == "error: epochs: a replay takes overrides of logger only\n"
    assert code_of(str(small_run.folder), "logger=none") == 2
    assert capsys.readouterr().err == "error: logger: names no backend to fill; choose one, e.g. logger=visdom\n"
