"""Nothing hurts the run: each fault is real, and leaves the weights, the points and the training time as they are."""

import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from expkit.config.compose import compose_one, plain
from expkit.loggers import background, hub, visdom_client
from expkit.loggers.base import LazyLogger, Logger, Point, RunFacts
from expkit.loggers.hub import LoggerHub
from expkit.loggers.jsonl import JsonlLogger, read_points
from expkit.loggers.tensorboard import TensorBoardLogger
from expkit.loggers.visdom import VisdomLogger
from expkit.runs.build import build
from tests.loggers.heard import Heard
from tests.loggers.servers import bad_server, free_port, hung_server, panes_of, post, start_visdom, visdom_server


class Outcome:
    """Trains with a backend, and measures what the training thread spent in the guard at each point."""

    def __init__(self, config: dict[str, Any], folder: Path, *backends: Logger) -> None:
        self.folder = folder
        folder.mkdir()
        self.trainer = build(config).trainer
        self.heard = Heard()
        self.guard = self.trainer.observers.logger
        self.guard.attach([JsonlLogger(folder / "metrics.jsonl"), self.heard, *backends])
        self.spent: list[float] = []
        self.midway: Callable[[], None] = lambda: None
        self.away = 0.0  # seconds that `midway` took
        take = self.guard.point

        def timed(point: Point) -> None:
            began = time.perf_counter()
            take(point)
            self.spent.append(time.perf_counter() - began)
            if point.step == 10 and point.kind == "epoch":
                began = time.perf_counter()
                self.midway()
                self.away = time.perf_counter() - began

        self.guard.point = timed  # type: ignore[method-assign]

    def train(self) -> None:
        self.guard.start(RunFacts("r", str(self.folder), {}, {"run": "r"}))
        began = time.perf_counter()
        self.trainer.run()
        self.seconds = time.perf_counter() - began - self.away

    def close(self) -> None:
        began = time.perf_counter()
        self.guard.close({"record": "r"})
        self.closing = time.perf_counter() - began

    @property
    def warnings(self) -> list[str]:
        return [text for text in self.heard.texts if " failed" in text or "has not answered" in text]

    def waits_for(self, happened: Callable[[], bool], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not happened():
            assert time.monotonic() < deadline, self.heard.texts
            time.sleep(0.05)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("faults")
    shapes = [f"dataset.root={folder}/shapes", "dataset.size=32", "dataset.train_images=40", "dataset.val_images=10"]
    small = [
        "model.width=4",
        "epochs=4",
        "batch_size=8",
        "log_every=1",
        "device.threads=1",
        "dataset.num_workers=0",
        "logger=none",
    ]
    return plain(compose_one([*shapes, *small]))


@pytest.fixture(scope="module")
def expected(config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> list[torch.Tensor]:
    """The weights of a run without a backend."""
    bare = Outcome(config, tmp_path_factory.mktemp("bare") / "r")
    bare.train()
    bare.close()
    return list(bare.trainer.state.model.state_dict().values())


@pytest.fixture
def short_closing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "CLOSING", 0.5)


def check(outcome: Outcome, expected: list[torch.Tensor], warnings: int = 1) -> None:
    ours = outcome.trainer.state.model.state_dict().values()
    assert all(torch.equal(one, other) for one, other in zip(ours, expected, strict=True))
    points = [point for point, _ in read_points(outcome.folder / "metrics.jsonl")]
    assert [point.step for point in points if point.kind == "step"] == list(range(1, 21))
    assert sum(point.kind == "epoch" for point in points) == 4
    assert len(outcome.warnings) == warnings, outcome.heard.texts
    # The median, for a busy machine may stop any thread for a while; and none waits as long as a server would take.
    assert statistics.median(outcome.spent) * len(outcome.spent) < 0.05 * outcome.seconds
    assert max(outcome.spent) < 1
    assert outcome.closing < hub.CLOSING + 1


def visdom(port: int) -> VisdomLogger:
    return VisdomLogger("localhost", port, "r", None, 60)


def loss_points(port: int, env: str = "r") -> int:
    """Return how many points of the training loss a server holds."""
    traces = panes_of(port, "r", env)["loss"]["content"]["data"]
    return sum(len(trace["x"]) for trace in traces if trace["name"] == "train, steps")


def test_visdom_is_down_from_the_start(
    config: dict[str, Any], expected: list[torch.Tensor], tmp_path: Path, short_closing: None
) -> None:
    outcome = Outcome(config, tmp_path / "r", visdom(free_port()))
    outcome.train()
    outcome.waits_for(lambda: bool(outcome.warnings))  # its client takes a second to import
    outcome.close()
    check(outcome, expected)
    assert "python -m expkit visdom" in outcome.warnings[0]
    assert any("python -m expkit replay" in text for text in outcome.heard.texts)


def test_visdom_dies_midway_and_comes_back(
    config: dict[str, Any], expected: list[torch.Tensor], tmp_path: Path
) -> None:
    port = free_port()
    server = start_visdom(tmp_path / "server", port)
    outcome = Outcome(config, tmp_path / "r", visdom(port))

    def dies() -> None:
        outcome.waits_for(lambda: not outcome.guard.background[0].undelivered())
        assert loss_points(port) == 10
        server.kill()
        server.wait()

    outcome.midway = dies
    outcome.train()
    outcome.waits_for(lambda: bool(outcome.warnings))
    with visdom_server(tmp_path / "another", port):  # one that knows nothing of the run
        outcome.waits_for(lambda: any("visdom is back" in text for text in outcome.heard.texts))
        assert loss_points(port) == 20
        outcome.close()
    check(outcome, expected)


def test_somebody_closes_the_panes_midway(
    config: dict[str, Any], expected: list[torch.Tensor], tmp_path: Path, visdom_port: int
) -> None:
    outcome = Outcome(config, tmp_path / "r", VisdomLogger("localhost", visdom_port, "closed", None, 60))

    def close() -> None:
        outcome.waits_for(lambda: not outcome.guard.background[0].undelivered())
        post(visdom_port, "close", {"eid": "closed", "win": None})
        assert panes_of(visdom_port, "r", "closed") == {}

    outcome.midway = close
    outcome.train()
    outcome.waits_for(lambda: any("visdom is back" in text for text in outcome.heard.texts))
    outcome.close()
    assert loss_points(visdom_port, "closed") == 20
    check(outcome, expected)
    assert "lost this run's panes" in outcome.warnings[0]


def test_visdom_hangs(
    config: dict[str, Any], expected: list[torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visdom_client, "ANSWER_SECONDS", 60.0)  # not even the client's own limit ends the call
    monkeypatch.setattr(background, "PATIENCE", 60.0)
    with hung_server() as port:
        outcome = Outcome(config, tmp_path / "r", visdom(port))
        outcome.train()
        outcome.close()
        # While the server still hangs: none, as in a run that ends before it can be told from a slow one.
        check(outcome, expected, warnings=0)
    assert outcome.closing > hub.CLOSING - 1
    assert any("has not received everything" in text for text in outcome.heard.texts)


def test_a_hung_visdom_is_named_after_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short_closing: None
) -> None:
    monkeypatch.setattr(background, "PATIENCE", 1.0)
    with hung_server() as port:
        heard = Heard()
        loggers = LoggerHub([heard, visdom(port)])
        loggers.start(RunFacts("r", str(tmp_path), {}, {}))
        deadline = time.monotonic() + 30
        while not heard.texts and time.monotonic() < deadline:
            loggers.point(Point("step", 0, 1, {"loss": 1.0}))
            time.sleep(0.1)
        assert "visdom has not answered for 1 s; start the server with: python -m expkit visdom" in heard.texts[0]
        loggers.close({})
        assert sum("has not answered" in text for text in heard.texts) == 1


def test_a_call_to_a_hung_visdom_ends(
    config: dict[str, Any],
    expected: list[torch.Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    short_closing: None,
) -> None:
    monkeypatch.setattr(visdom_client, "ANSWER_SECONDS", 0.5)
    with hung_server() as port:
        outcome = Outcome(config, tmp_path / "r", visdom(port))
        outcome.train()
        outcome.waits_for(lambda: bool(outcome.warnings))
        outcome.close()
    check(outcome, expected)


@pytest.mark.parametrize(("status", "delay", "warnings"), [(500, 0.0, 1), (200, 3.0, 0)], ids=["500", "3 s"])
def test_visdom_answers_badly(
    config: dict[str, Any],
    expected: list[torch.Tensor],
    tmp_path: Path,
    status: int,
    delay: float,
    warnings: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(background, "PATIENCE", 60.0)
    monkeypatch.setattr(hub, "CLOSING", 0.5 + delay)
    with bad_server(status, delay) as port:
        outcome = Outcome(config, tmp_path / "r", visdom(port))
        outcome.train()
        outcome.waits_for(lambda: len(outcome.warnings) >= warnings)
        outcome.close()
        check(outcome, expected, warnings)


def test_tensorboard_cannot_write(
    config: dict[str, Any], expected: list[torch.Tensor], tmp_path: Path, short_closing: None
) -> None:
    (tmp_path / "file").write_text("not a folder")
    outcome = Outcome(config, tmp_path / "r", TensorBoardLogger(tmp_path / "file" / "events", 30))
    outcome.train()
    outcome.waits_for(lambda: bool(outcome.warnings))
    outcome.close()
    check(outcome, expected)
    assert "may be written to" in outcome.warnings[0]


class Raises(Logger):
    """A user's logger with a mistake in it."""

    def point(self, point: Point) -> None:
        raise KeyError("a mistake")


class Sleeps(Logger):
    """A user's logger that never comes back."""

    def close(self, summary: Mapping[str, str]) -> None:
        threading.Event().wait(60)


def never() -> Logger:
    threading.Event().wait(60)
    return Raises()


def wrong() -> Logger:
    raise RuntimeError("no such account")


@pytest.mark.parametrize(
    ("logger", "warnings"),
    [(Raises(), 1), (Sleeps(), 0), (LazyLogger("mine", never), 0), (LazyLogger("mine", wrong), 1)],
    ids=["raises", "never closes", "never built", "cannot be built"],
)
def test_a_users_logger_is_wrong(
    config: dict[str, Any],
    expected: list[torch.Tensor],
    tmp_path: Path,
    logger: Logger,
    warnings: int,
    short_closing: None,
) -> None:
    outcome = Outcome(config, tmp_path / "r", logger)
    outcome.train()
    outcome.waits_for(lambda: len(outcome.warnings) >= warnings)
    outcome.close()
    check(outcome, expected, warnings)


FULL_DISK = """
import sys, time
from pathlib import Path
from expkit.loggers.base import Point, RunFacts
from expkit.loggers.hub import LoggerHub
from expkit.loggers.jsonl import JsonlLogger
from expkit.loggers.tensorboard import TensorBoardLogger
from tests.loggers.heard import Heard
from tests.loggers.test_tensorboard import read

disk = Path(sys.argv[1])
(disk / "ballast").write_bytes(bytes(760_000))
heard = Heard()
guard = LoggerHub([JsonlLogger(disk / "metrics.jsonl"), heard, TensorBoardLogger(disk / "events", 1)])
guard.start(RunFacts("r", str(disk), {}, {}))

def wait_for(text):
    deadline = time.monotonic() + 60
    while not any(text in one for one in heard.texts):
        assert time.monotonic() < deadline, heard.texts
        time.sleep(0.05)

for step in range(2000):
    guard.point(Point("step", 0, step, {"loss": 1 / 3}))
    if step == 1500:
        wait_for("metrics.jsonl: ")
        wait_for("tensorboard failed")
        assert len(heard.texts) == 2, heard.texts
        assert all("No space left" in text or "disk is full" in text for text in heard.texts), heard.texts
        assert (disk / "metrics.jsonl").read_bytes().endswith(b"\\n")
        assert (disk / "metrics.jsonl").stat().st_size < guard.metrics_bytes()
        (disk / "ballast").unlink()
guard.flush()
lines = (disk / "metrics.jsonl").read_text().splitlines()
assert len(lines) == 2000 and '"step": 1999' in lines[-1], len(lines)
assert (disk / "metrics.jsonl").stat().st_size == guard.metrics_bytes()
wait_for("tensorboard is back")
guard.close({})
assert [event.step for event in read(disk / "events").Scalars("step/loss")] == list(range(2000))
print("ok")
"""


def test_the_disk_is_full(tmp_path: Path) -> None:
    """A file system of 800 KB, in a mount namespace of its own."""
    if not shutil.which("unshare"):
        pytest.skip("unshare is not installed: no small file system can be mounted")
    probe = ["unshare", "-rm", "mount", "-t", "tmpfs", "-o", "size=800k", "none", str(tmp_path)]
    if subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a small file system")
    line = f'mount -t tmpfs -o size=800k none {tmp_path} && exec "$0" -c "$1" {tmp_path}'
    command = ["unshare", "-rm", "sh", "-c", line, sys.executable, FULL_DISK]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout == "ok\n", done.stdout + done.stderr
