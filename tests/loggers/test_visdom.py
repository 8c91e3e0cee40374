"""Visdom: what a real server holds of a run, and what a real browser shows of it."""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from expkit.config.hydra_loader import Config
from expkit.config.registry import loggers
from expkit.core.errors import ConfigError
from expkit.loggers.base import Logger, Point, RunFacts
from expkit.loggers.visdom import VisdomLogger
from tests.cli.test_visdom import served_page
from tests.forks import Forks
from tests.loggers.servers import free_port, panes, panes_of, post, start_visdom
from tests.loggers.shown import FIGURES
from tests.records.report.browser import opened

Compose = Callable[..., Config]


def logged(port: int, env: str, run: str = "") -> VisdomLogger:
    """Show points, every kind of figure, and text, in an environment. run: "" for one of the same name."""
    logger = VisdomLogger("localhost", port, env, None, 60, shared=bool(run))
    logger.start(RunFacts(run or env, "f", {}, {"run": run or env, "model": "<small>"}))
    for step in range(1, 5):
        logger.point(Point("step", 0, step, {"loss": 1 / step, "lr": 0.1}))
    logger.point(Point("epoch", 0, 4, {"train/loss": 0.5, "val/loss": 0.625, "val/accuracy": 0.75, "lr": 0.1}))
    logger.flush()
    logger.point(Point("epoch", 1, 8, {"train/loss": 0.25, "val/loss": 0.5, "val/accuracy": 0.8, "lr": 0.1}))
    logger.message("first <line>")
    logger.flush()
    for figure in FIGURES:
        logger.show(figure)
    logger.message("second line")
    logger.flush()
    logger.close({"record": "f"})
    return logger


def test_a_server_holds_every_kind(visdom_port: int) -> None:
    logged(visdom_port, "kinds")
    held = panes_of(visdom_port, "kinds")
    assert set(held) == {
        "run",
        "log",
        "result",
        "loss",
        "accuracy",
        "lr",
        *(one.name.replace("/", "_") for one in FIGURES),
    }
    loss = {trace["name"]: (trace["x"], trace["y"]) for trace in held["loss"]["content"]["data"]}
    assert loss == {
        "train, steps": ([1, 2, 3, 4], [1, 1 / 2, 1 / 3, 1 / 4]),
        "train": ([4, 8], [0.5, 0.25]),
        "val": ([4, 8], [0.625, 0.5]),
    }
    layout = held["loss"]["content"]["layout"]
    assert (held["loss"]["title"], layout["xaxis"]["title"], layout["yaxis"]["title"]) == ("loss", "step", "loss")
    assert held["lr"]["content"]["layout"]["yaxis"]["title"] == "learning rate"
    log = held["log"]["content"]
    assert log.index("first &lt;line&gt;") < log.index("second line")
    assert "&lt;small&gt;" in held["run"]["content"]
    assert held["weights_conv"]["content"]["data"][0]["y"] == [3, 4]
    assert held["val_pr"]["content"]["data"][0]["x"] == [0, 1]
    assert held["val_worst"]["type"] == "image"
    assert len(held["val_embedding"]["content"]["data"]) == 3


def test_a_run_that_goes_on_has_its_environment_once(visdom_port: int) -> None:
    for _ in range(2):
        logged(visdom_port, "twice")
    traces = panes_of(visdom_port, "twice")["loss"]["content"]["data"]
    assert [len(trace["x"]) for trace in traces] == [4, 2, 2]


def test_panes_of_the_user_and_of_other_runs_stay(tmp_path: Path) -> None:
    port, own = free_port(), {"win": "loss", "eid": "mine", "data": [{"type": "text", "content": "my own"}], "opts": {}}
    server = start_visdom(tmp_path / "kept", port)
    try:
        post(port, "events", own)
        for name in ("a", "a/b", "a", "b"):  # the first is resumed
            logged(port, "mine", name)
        held = panes(port, "mine")
        assert held["loss"]["content"] == "my own"
        assert held["b/loss"]["title"] == "loss, b"
        for name in ("a", "a/b", "b"):
            traces = {trace["name"]: trace["x"] for trace in held[f"{name}/loss"]["content"]["data"]}
            assert traces == {"train, steps": [1, 2, 3, 4], "train": [4, 8], "val": [4, 8]}
            assert held[f"{name}/log"]["content"].count("second line") == 1
        saved = json.loads((tmp_path / "kept" / "mine.json").read_text())
        assert saved["jsons"]["loss"]["content"] == "my own"
    finally:
        server.kill()
        server.wait()


def test_the_result_of_an_earlier_start_goes(visdom_port: int) -> None:
    logged(visdom_port, "again")
    logger = VisdomLogger("localhost", visdom_port, "again", None, 60)
    logger.start(RunFacts("again", "f", {}, {"run": "again"}))
    assert "result" not in panes_of(visdom_port, "again")


def test_the_jobs_of_a_sweep_share_an_environment(commands: Forks, visdom_port: int, tmp_path: Path) -> None:
    small = ["dataset.size=32", "dataset.train_images=40", "dataset.val_images=10", "model.width=4", "epochs=1"]
    command = ["logger=visdom", f"logger.visdom.port={visdom_port}", "logger.visdom.env=a sweep", "log_every=1"]
    done = commands.run(tmp_path, "-m", "seed=0,1", *small, *command, "batch_size=8", "dataset.num_workers=0")
    assert done.returncode == 0, done.stderr
    runs = [path.parent.name for path in tmp_path.glob("outputs/**/record.json")]
    assert len(runs) == 2
    for run in runs:
        held = panes_of(visdom_port, run, "a sweep")
        assert {trace["name"]: trace["x"] for trace in held["loss"]["content"]["data"]} == {
            "train, steps": [1, 2, 3, 4, 5], "train": [5], "val": [5],
        }  # fmt: skip
        assert held["loss"]["title"] == f"loss, {run}"


def test_the_environment_is_saved(tmp_path: Path) -> None:
    port = free_port()
    server = start_visdom(tmp_path / "kept", port)
    try:
        logged(port, "saved")
        saved = json.loads((tmp_path / "kept" / "saved.json").read_text())
        assert "saved/loss" in saved["jsons"]
    finally:
        server.kill()
        server.wait()


def test_a_server_with_a_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISDOM_USE_ENV_CREDENTIALS", "1")
    monkeypatch.setenv("VISDOM_USERNAME", "ada")
    monkeypatch.setenv("VISDOM_PASSWORD", "engine")
    monkeypatch.setenv("VISDOM_COOKIE", "a cookie's secret")
    monkeypatch.setenv("HOME", str(tmp_path))  # where the server keeps the secret
    (tmp_path / ".visdom").mkdir()
    port = free_port()
    server = start_visdom(tmp_path / "kept", port, "-enable_login")
    facts = RunFacts("r", "f", {}, {"run": "r"})
    try:
        known: Logger = loggers.build({"name": "visdom", "port": port}, "logger.visdom", folder=tmp_path, run_name="r")
        known.start(facts)
        known.close({"record": "f"})
        assert "r/result" in json.loads((tmp_path / "kept" / "r.json").read_text())["jsons"]
        for login in (("ada", "wrong"), None):
            stranger = VisdomLogger("localhost", port, "r", login, 60)
            with pytest.raises(PermissionError, match="asks for a login, or refuses this one"):
                stranger.start(facts)
            assert "VISDOM_PASSWORD" in stranger.remedy
    finally:
        server.kill()
        server.wait()


def build(**options: Any) -> VisdomLogger:
    built: VisdomLogger = loggers.build(
        {"name": "visdom", **options}, "logger.visdom", folder=Path("f"), run_name="a b/c"
    )
    return built


def test_the_environment_variables_stand_in_for_the_config(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VISDOM_SERVER", "VISDOM_PORT", "VISDOM_USERNAME", "VISDOM_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    assert build().where() == "http://localhost:8097/env/a-b-c"
    monkeypatch.setenv("VISDOM_SERVER", "https://plots.example.org")
    monkeypatch.setenv("VISDOM_PORT", "9000")
    assert build().where() == "https://plots.example.org:9000/env/a-b-c"
    assert build(server="here", port=1, env="mine").where() == "http://here:1/env/mine"
    assert build(server="here", port=1, env="lab/my plots").where() == "http://here:1/env/lab_my%20plots"
    monkeypatch.setenv("VISDOM_USERNAME", "ada")
    with pytest.raises(ConfigError, match="VISDOM_PASSWORD; set it"):
        build()
    monkeypatch.setenv("VISDOM_PASSWORD", "engine")
    assert build().connect.args[-1] == ("ada", "engine")


@pytest.mark.parametrize("port", [0, 70_000, "eight"])
def test_a_port_that_is_none_is_refused(port: int | str) -> None:
    with pytest.raises(ConfigError, match=re.escape("logger.visdom.port")):
        build(port=port)


def test_the_command_fills_both(commands: Forks, visdom_port: int, tmp_path: Path) -> None:
    small = ["dataset.size=32", "dataset.train_images=40", "dataset.val_images=10", "model.width=4", "epochs=2"]
    command = ["logger=[tensorboard,visdom]", f"logger.visdom.port={visdom_port}", "log_every=1", "batch_size=8"]
    done = commands.run(tmp_path, *small, *command, "dataset.num_workers=0", environment={"COLUMNS": "300"})
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "outputs").glob("*/record.json")
    name = run.parent.name
    assert f"localhost:{visdom_port}/env/{name}" in done.stdout
    assert "tensorboard --logdir" in done.stdout
    assert "warning" not in done.stdout
    traces = {trace["name"]: trace["x"] for trace in panes_of(visdom_port, name)["loss"]["content"]["data"]}
    assert traces == {"train, steps": list(range(1, 11)), "train": [5, 10], "val": [5, 10]}
    seen = EventAccumulator(str(run.parent)).Reload()
    assert [event.step for event in seen.Scalars("step/loss")] == list(range(1, 11))


@pytest.fixture
def page_port(tmp_path: Path) -> Iterator[int]:
    with served_page(tmp_path) as port:
        yield port


def test_a_browser_shows_the_panes(page_port: int, tmp_path: Path) -> None:
    where = logged(page_port, "seen").where()
    with opened(where) as (page, _):
        page.wait_for_selector(".react-grid-item .js-plotly-plot .main-svg", timeout=60_000)
        page.wait_for_function(f"document.querySelectorAll('.react-grid-item').length >= {6 + len(FIGURES)}")
        shown = {title.split("\n")[-1] for title in page.locator(".react-grid-item .bar").all_inner_texts()}
        assert {"loss", "accuracy", "lr", "seen", "log", "result"} <= shown
        loss = page.locator(".react-grid-item", has=page.locator("text=train, steps")).first
        assert loss.locator(".scatterlayer .trace").count() == 3
        assert page.locator(".react-grid-item img").count() >= 1
        assert page.locator(".barlayer .point").count() == 2
        page.screenshot(path=os.environ.get("EXPKIT_SCREENSHOT") or tmp_path / "visdom.png", full_page=True)
