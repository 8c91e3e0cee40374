"""Nothing hurts the run: each fault is real, and leaves the weights, the points and the training time as they are."""

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from expkit.assembly import assemble
from expkit.loggers import JsonlLogger, LateLogger, Logger, LoggerGuard, Point, RunFacts, TensorBoardLogger
from expkit.loggers.guard import CLOSING
from expkit.loggers.jsonl import read_points
from expkit.loggers.visdom import VisdomLogger
from tests.loggers.servers import bad_server, free_port, hung_server, panes, start_visdom, visdom_server

Compose = Callable[..., dict[str, Any]]


class Heard(Logger):
    """Keeps the messages."""

    direct = True

    def __init__(self) -> None:
        self.texts: list[str] = []

    def message(self, text: str) -> None:
        self.texts.append(text)


class Outcome:
    """Trains with a backend, and measures what the training thread spent in the guard."""

    def __init__(self, config: dict[str, Any], folder: Path, *backends: Logger) -> None:
        self.folder = folder
        folder.mkdir()
        self.runner = assemble(config).runner
        self.heard = Heard()
        self.guard = LoggerGuard([JsonlLogger(folder / "metrics.jsonl"), self.heard, *backends])
        self.runner.parts.logger = self.guard
        self.spent = 0.0
        take = self.guard.point

        def timed(point: Point) -> None:
            began = time.perf_counter()
            take(point)
            self.spent += time.perf_counter() - began

        self.guard.point = timed  # type: ignore[method-assign]

    def train(self) -> None:
        self.guard.start(RunFacts("r", str(self.folder), {}, {"run": "r"}))
        began = time.perf_counter()
        self.runner.run()
        self.seconds = time.perf_counter() - began

    def close(self) -> None:
        began = time.perf_counter()
        self.guard.close({"record": "r"})
        self.closing = time.perf_counter() - began

    @property
    def warnings(self) -> list[str]:
        return [text for text in self.heard.texts if " failed" in text or "does not answer" in text]


@pytest.fixture
def config(small_config: Compose) -> dict[str, Any]:
    return small_config("epochs=4", "batch_size=8", "log_every=1")


@pytest.fixture
def expected(config: dict[str, Any], tmp_path: Path) -> list[torch.Tensor]:
    bare = Outcome(config, tmp_path / "bare")
    bare.train()
    bare.close()
    return list(bare.runner.parts.model.state_dict().values())


def check(outcome: Outcome, expected: list[torch.Tensor], warnings: int = 1) -> None:
    ours = outcome.runner.parts.model.state_dict().values()
    assert all(torch.equal(one, other) for one, other in zip(ours, expected, strict=True))
    points = [point for point, _ in read_points(outcome.folder / "metrics.jsonl")]
    assert [point.step for point in points if point.kind == "step"] == list(range(1, 21))
    assert sum(point.kind == "epoch" for point in points) == 4
    assert len(outcome.warnings) == warnings, outcome.heard.texts
    assert outcome.spent < 0.05 * outcome.seconds
    assert outcome.closing < CLOSING + 1


def visdom(port: int) -> VisdomLogger:
    return VisdomLogger("localhost", port, "r", None, 60)


def loss_points(port: int) -> int:
    """Return how many points of the training loss a server holds."""
    traces = panes(port, "r")["loss"]["content"]["data"]
    return sum(len(trace["x"]) for trace in traces if trace["name"] == "train, steps")


def test_visdom_is_down_from_the_start(config: dict[str, Any], expected: list[torch.Tensor], tmp_path: Path) -> None:
    outcome = Outcome(config, tmp_path / "r", visdom(free_port()))
    outcome.train()
    time.sleep(2)  # its client takes a second to import
    outcome.close()
    check(outcome, expected)
    assert "python -m expkit.visdom" in outcome.warnings[0]
    assert any("expkit.replay" in text for text in outcome.heard.texts)


def test_visdom_dies_midway_and_comes_back(
    config: dict[str, Any], expected: list[torch.Tensor], tmp_path: Path
) -> None:
    port = free_port()
    server = start_visdom(tmp_path / "server", port)
    outcome = Outcome(config, tmp_path / "r", visdom(port))
    outcome.train()
    deadline = time.monotonic() + 60
    while outcome.guard.couriers[0].undelivered() and time.monotonic() < deadline:
        time.sleep(0.1)
    server.kill()
    server.wait()
    outcome.guard.message("while it is away")
    while not outcome.warnings and time.monotonic() < deadline:
        time.sleep(0.1)
    with visdom_server(tmp_path / "server2", port):  # another one, which knows nothing of the run
        while not any("is back" in text for text in outcome.heard.texts) and time.monotonic() < deadline + 60:
            time.sleep(0.1)
        assert loss_points(port) == 20
        outcome.close()
    check(outcome, expected)


def test_visdom_hangs(config: dict[str, Any], expected: list[torch.Tensor], tmp_path: Path) -> None:
    with hung_server() as port:
        outcome = Outcome(config, tmp_path / "r", visdom(port))
        outcome.train()
        outcome.close()
    check(outcome, expected, warnings=0)  # a run this short ends before a hung server can be told from a slow one
    assert any("has not got everything" in text for text in outcome.heard.texts)


def test_a_hung_visdom_is_named_after_its_time(tmp_path: Path) -> None:
    with hung_server() as port:
        heard = Heard()
        guard = LoggerGuard([heard, visdom(port)])
        guard.start(RunFacts("r", str(tmp_path), {}, {}))
        deadline = time.monotonic() + 20
        while not heard.texts and time.monotonic() < deadline:
            guard.point(Point("step", 0, 1, {"loss": 1.0}))
            time.sleep(0.2)
        assert heard.texts
        assert "visdom" in heard.texts[0]
        guard.close({})


@pytest.mark.parametrize(("status", "delay", "warnings"), [(500, 0.0, 1), (200, 3.0, 0)], ids=["500", "3 s"])
def test_visdom_answers_badly(
    config: dict[str, Any], expected: list[torch.Tensor], tmp_path: Path, status: int, delay: float, warnings: int
) -> None:
    with bad_server(status, delay) as port:
        outcome = Outcome(config, tmp_path / "r", visdom(port))
        outcome.train()
        time.sleep(2)
        outcome.close()
    check(outcome, expected, warnings)


def test_tensorboard_cannot_write(config: dict[str, Any], expected: list[torch.Tensor], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    outcome = Outcome(config, tmp_path / "r", TensorBoardLogger(tmp_path / "file" / "events", 30))
    outcome.train()
    time.sleep(0.5)
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
    [(Raises(), 1), (Sleeps(), 0), (LateLogger("mine", never), 0), (LateLogger("mine", wrong), 1)],
    ids=["raises", "never closes", "never built", "cannot be built"],
)
def test_a_users_logger_is_wrong(
    config: dict[str, Any], expected: list[torch.Tensor], tmp_path: Path, logger: Logger, warnings: int
) -> None:
    outcome = Outcome(config, tmp_path / "r", logger)
    outcome.train()
    outcome.close()
    check(outcome, expected, warnings)


FULL_DISK = """
import sys
from pathlib import Path
from expkit.loggers import JsonlLogger, LoggerGuard, Point, RunFacts
from tests.loggers.test_faults import Heard

disk = Path(sys.argv[1])
(disk / "ballast").write_bytes(bytes(200_000))
heard = Heard()
guard = LoggerGuard([JsonlLogger(disk / "metrics.jsonl"), heard])
guard.start(RunFacts("r", str(disk), {}, {}))
for step in range(2000):
    guard.point(Point("step", 0, step, {"loss": 1 / 3}))
    if step == 1500:
        assert len(heard.texts) == 1, heard.texts
        assert "No space left" in heard.texts[0] or "disk is full" in heard.texts[0]
        assert (disk / "metrics.jsonl").read_bytes().endswith(b"\\n")
        assert (disk / "metrics.jsonl").stat().st_size < guard.metrics_bytes()
        (disk / "ballast").unlink()
guard.flush()
lines = (disk / "metrics.jsonl").read_text().splitlines()
assert len(lines) == 2000 and '"step": 1999' in lines[-1], len(lines)
assert (disk / "metrics.jsonl").stat().st_size == guard.metrics_bytes()
guard.close({})
print("ok")
"""


def test_the_disk_is_full(tmp_path: Path) -> None:
    """A file system of 280 KB, in a mount namespace of its own."""
    if not shutil.which("unshare"):
        pytest.skip("unshare is not installed: no small file system can be mounted")
    probe = ["unshare", "-rm", "mount", "-t", "tmpfs", "-o", "size=280k", "none", str(tmp_path)]
    if subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a small file system")
    line = f'mount -t tmpfs -o size=280k none {tmp_path} && exec "$0" -c "$1" {tmp_path}'
    command = ["unshare", "-rm", "sh", "-c", line, sys.executable, FULL_DISK]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout == "ok\n", done.stderr
