"""The console, on a real terminal (a pty) and in a pipe."""

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from expkit.loggers import ConsoleLogger, LoggerGuard, Point, Progress, RunFacts


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
    guard = LoggerGuard([ConsoleLogger(console)])
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
        "epoch 1/1  train: loss 1.0000  val: loss 2.0000  lr 0.1  1.0 s  10 images/s  50% waiting for data\n"
        in file.getvalue()
    )
    assert "x" * 300 in file.getvalue()
    assert "\x1b" not in file.getvalue()
