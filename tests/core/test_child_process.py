"""Ctrl+C at the moment in which processes are forked."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from expkit.core.child_process import signals_wait
from tests.forks import Forks, wait_until

# What Python runs at each fork, slowed down so that a signal comes in its midst.
PLUGIN = """
import os
import time
from pathlib import Path

def slow():
    with open("forks", "a") as file:
        file.write("fork")
    for _ in range(30):
        time.sleep(0.01)

os.register_at_fork(before=slow, after_in_parent=slow, after_in_child=slow)
"""
SMALL = [
    "dataset=fake", "dataset.images=40", "dataset.image_size=16", "dataset.num_classes=2", "model.width=4",
    "transforms.image_size=16", "logger=none", "watch=none", "dataset.num_workers=2", "epochs=50",
]  # fmt: skip


@pytest.mark.parametrize("words", [[], ["-m", "seed=0,1"]], ids=["workers", "sweep"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_ctrl_c_while_processes_are_forked_is_quiet(
    words: list[str], number: int, commands: Forks, tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text(PLUGIN)
    process = commands.start(tmp_path, "--plugin", "slow.py", *SMALL, *words)
    marks = tmp_path / "forks"
    wait_until(lambda: marks.exists() and marks.stat().st_size >= 4 * number)
    time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    assert process.wait() == 130
    assert "Exception ignored" not in process.printed()
    assert "Traceback" not in process.printed()


def test_a_signal_comes_after_the_fork() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        with signals_wait():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            assert heard == []
        assert heard == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)
    with pytest.raises(KeyboardInterrupt), signals_wait():
        signal.raise_signal(signal.SIGINT)


def test_another_thread_changes_nothing() -> None:
    handler = signal.getsignal(signal.SIGINT)
    found = []

    def look() -> None:
        with signals_wait():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [handler]
