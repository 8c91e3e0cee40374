"""Readers: every item is answered once, whatever one of them does to its process."""

import faulthandler
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from expkit.doctor.reader_pool import Lost, read_all


def hostile(item: int) -> int:
    """Square the item; 3 hangs, 5 crashes, 7 is killed as if memory had run out, 9 raises."""
    if item == 3:
        time.sleep(60)
    if item in (5, 7):
        faulthandler.disable()  # pytest's would print the crash
        os.kill(os.getpid(), signal.SIGSEGV if item == 5 else signal.SIGKILL)
    if item == 9:
        raise ValueError("no")
    return item * item


@pytest.mark.parametrize("processes", [1, 3])
def test_every_item_is_answered_once_whatever_one_does(processes: int) -> None:
    began = time.monotonic()
    answers = list(read_all(hostile, 40, processes, timeout=0.6))
    assert time.monotonic() - began < 15
    assert sorted(item for item, _ in answers) == list(range(40))
    lost = {item: answer.reason for item, answer in answers if isinstance(answer, Lost)}
    assert lost == {
        3: "took longer than 0.6 s",
        5: "killed the reader (SIGSEGV)",
        7: "killed the reader (SIGKILL, most likely out of memory)",
        9: "ended the reader (exit code 1)",
    }
    assert {item: answer for item, answer in answers if item not in lost} == {
        item: item * item for item in range(40) if item not in lost
    }
    assert not multiprocessing.active_children()


def test_a_slow_consumer_is_not_taken_for_a_slow_reader() -> None:
    answers = []
    for item, answer in read_all(abs, 12, 2, timeout=0.3):
        answers.append((item, answer))
        if len(answers) == 1:
            time.sleep(0.8)
    assert sorted(answers) == [(item, item) for item in range(12)]


def test_nothing_is_left_when_the_reading_is_cut_off() -> None:
    reading = read_all(hostile, 40, 2, timeout=60)
    next(reading)
    children = [child.pid for child in multiprocessing.active_children()]
    assert len(children) == 2
    reading.close()
    assert not multiprocessing.active_children()
    for child in children:
        assert child is not None
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)


def test_no_items_need_no_process() -> None:
    assert list(read_all(abs, 0, 2, timeout=1)) == []


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends readers with their parent on Linux only")
def test_readers_end_with_a_parent_that_is_killed() -> None:
    program = (
        "import time; from expkit.doctor.reader_pool import read_all;"
        "list(read_all(lambda item: time.sleep(60), 99, 2, timeout=90))"
    )
    parent = subprocess.Popen([sys.executable, "-c", program])
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    deadline = time.monotonic() + 30
    while len(found := children.read_text().split()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.2)
    parent.kill()
    parent.wait()
    while any(map(_lives, found)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _lives(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
