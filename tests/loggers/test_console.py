"""The console, on a real terminal (a pty) and in a pipe."""

import io
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from expkit.loggers.base import Point, Progress, RunFacts
from expkit.loggers.console import ConsoleLogger
from expkit.loggers.hub import LoggerHub

ROOT = Path(__file__).parents[2]


def test_a_terminal_sees_the_bar_and_every_epoch(tmp_path: Path) -> None:
    small = ["dataset.size=32", "dataset.train_images=200", "dataset.val_images=20", "model.width=4", "epochs=2"]
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "expkit.run", *small, "dataset.num_workers=0", "logger=none"]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "200"}
    running = subprocess.Popen(command, cwd=tmp_path, stdout=follower, stderr=follower, env=environment)
    os.close(follower)
    seen = b""
    while True:
        try:
            seen += os.read(leader, 65536)
        except OSError:  # what Linux says when the other side has closed
            break
    os.close(leader)
    assert running.wait() == 0
    text = seen.decode()
    assert "━" in text
    assert "left out" not in text
    assert "epoch 2/2  train: loss" in text
    assert "record" in text


def test_a_bar_follows_the_progress() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    progress = Progress()
    guard = LoggerHub([ConsoleLogger(console)])
    guard.start(RunFacts("r", "f", {}, {"run": "r"}, progress=progress))
    progress.stage, progress.epochs, progress.done, progress.total = "train", 3, 5, 10
    (logger,) = guard.loggers
    assert isinstance(logger, ConsoleLogger)
    assert logger._bar is not None
    logger._bar.refresh()
    guard.close({"record": "f"})
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "epoch 1/3  train" in text
    assert "run: " in text
    assert "5/10" in text


def test_a_pipe_gets_plain_lines() -> None:
    file = io.StringIO()
    logger = ConsoleLogger(Console(file=file))
    logger.start(RunFacts("r", "f", {}, {"run": "r"}, progress=Progress(epochs=1)))
    values = {
        "train/loss": 1.0,
        "val/loss": 2.0,
        "lr": 0.1,
        "seconds": 1.0,
        "images_per_second": 10.0,
        "data_wait": 0.5,
    }
    logger.point(Point("epoch", 0, 5, values))
    logger.close({"record": "x" * 300})
    assert (
        "epoch 1/1  train: loss 1.0000  val: loss 2.0000  lr 0.1  1.0 s  10 images/s  50% waiting\n" in file.getvalue()
    )
    assert "x" * 300 in file.getvalue()
    assert "\x1b" not in file.getvalue()


PROGRAM = """
import sys, time
from expkit.loggers import eta as pace
from expkit.loggers.base import Point, Progress, RunFacts
from expkit.loggers.console import ConsoleLogger
pace.QUIET_SECONDS = 0.5
progress = Progress("train", 0, 2, 0, 100)
logger = ConsoleLogger()
logger.start(RunFacts("r", "f", {}, {"run": "r"}, progress=progress))
for step in range(1, 14):
    time.sleep(0.1)
    progress.done = step
    logger.point(Point("step", 0, step, {"loss": 1 / step}))
values = {"train/loss": 1.0, "val/loss": 2.0, "lr": 0.1, "seconds": 1.3, "images_per_second": 10.0, "data_wait": 0.0}
logger.point(Point("epoch", 0, 13, values))
logger.message("warning: " + "x" * 300)
logger.close({"record": "y" * 300})
"""
NOTEBOOK = """
class ZMQInteractiveShell: ...
import builtins
builtins.get_ipython = ZMQInteractiveShell  # what a notebook's kernel has, by which rich knows it
"""
PLACES = {
    "pipe": ({}, ""),
    "FORCE_COLOR": ({"FORCE_COLOR": "1"}, ""),
    "CI": ({"CI": "true", "GITHUB_ACTIONS": "true"}, ""),
    "dumb terminal": ({"TERM": "dumb"}, ""),
    "notebook": ({}, NOTEBOOK),
}


def check_plain(text: str, colours: bool = False) -> None:
    """Whole lines, none that is drawn over, and a line of progress within the epoch, at most every half second."""
    if colours:
        text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert "\x1b" not in text
    assert "\r" not in text.replace("\r\n", "\n")
    assert "━" not in text
    lines = text.splitlines()
    assert "epoch 1/2  train: loss 1.0000  val: loss 2.0000  lr 0.1  1.3 s  10 images/s" in lines
    assert "warning: " + "x" * 300 in lines
    assert "record  " + "y" * 300 in lines
    shape = r"epoch 1/2  train \d+/100  loss \d\.\d+  run: \d+ (s|min) left"
    within = [line for line in lines if re.fullmatch(shape, line)]
    assert 1 <= len(within) <= 3, lines


@pytest.mark.parametrize("place", PLACES)
def test_where_no_bar_can_move_there_are_plain_lines(place: str) -> None:
    environment, before = PLACES[place]
    without = {name: value for name, value in os.environ.items() if name not in ("CI", "FORCE_COLOR", "NO_COLOR")}
    done = subprocess.run(
        [sys.executable, "-c", before + PROGRAM], capture_output=True, text=True, env=without | environment, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    check_plain(done.stdout, colours=place == "FORCE_COLOR")
    if place == "FORCE_COLOR":
        assert "\x1b[33m" in done.stdout


def test_nohup_keeps_plain_lines_after_the_terminal_has_gone(tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm"}
    running = subprocess.Popen(
        ["nohup", sys.executable, "-c", PROGRAM],
        stdin=follower, stdout=follower, stderr=follower, cwd=tmp_path, env=environment, start_new_session=True,
    )  # fmt: skip
    os.close(follower)
    time.sleep(0.2)
    os.close(leader)  # the terminal goes: a hang-up
    assert running.wait(60) == 0
    check_plain((tmp_path / "nohup.out").read_text())
