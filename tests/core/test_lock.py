"""One process at a time in a run folder, with real processes."""

import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from expkit.core.lock import FolderInUse, FolderLock

HOLD = """
import os, sys, time
from pathlib import Path
from expkit.core.lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
worker = os.fork()  # as a loader does
if worker:
    print(worker, flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock of tmp_path and has a forked worker."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        worker = int(process.stdout.readline())
        yield process
        process.kill()
        os.kill(worker, signal.SIGKILL)


def test_a_folder_in_use_is_refused_with_its_holder(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    told = f"{re.escape(str(tmp_path))}: is in use by process {holder.pid} on {re.escape(socket.gethostname())}; wait"
    for _ in range(3):
        with pytest.raises(FolderInUse, match=told):
            FolderLock(tmp_path)


def test_a_stale_lock_is_recovered_while_an_orphaned_worker_lives(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    lock = FolderLock(tmp_path)
    assert lock.recovered == f"process {holder.pid} ended without releasing {tmp_path}"
    assert json.loads((tmp_path / "run.lock").read_text())["pid"] == os.getpid()
    lock.release()


def test_a_released_folder_is_free(tmp_path: Path) -> None:
    first = FolderLock(tmp_path)
    with pytest.raises(FolderInUse, match=f"by process {os.getpid()} on"):
        FolderLock(tmp_path)
    first.release()
    first.release()
    second = FolderLock(tmp_path)
    assert first.recovered == second.recovered == ""
    second.release()
    assert (tmp_path / "run.lock").read_text() == ""


def test_a_holder_on_another_host_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    path.write_text(json.dumps({"host": "elsewhere", "pid": 12}))
    told = f"was locked by process 12 on elsewhere, .*; if it does not, remove {re.escape(str(path))} and start again"
    for _ in range(2):
        with pytest.raises(FolderInUse, match=told):
            FolderLock(tmp_path)
    assert json.loads(path.read_text())["host"] == "elsewhere"
    path.unlink()
    FolderLock(tmp_path).release()


@pytest.mark.parametrize("content", ["", '{"host": "a', "[1]", '{"host": "a"}', '{"host": "a", "pid": "x"}', "\xff"])
def test_a_holder_that_was_never_named_is_no_obstacle(content: str, tmp_path: Path) -> None:
    (tmp_path / "run.lock").write_bytes(content.encode("latin-1"))
    lock = FolderLock(tmp_path)
    assert lock.recovered == ""
    lock.release()


def test_a_holder_that_has_not_yet_written_its_name(tmp_path: Path) -> None:
    with open(tmp_path / "run.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(FolderInUse, match="in use by process not yet named on a host"):
            FolderLock(tmp_path)


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(FolderInUse, match="cannot be locked: Operation not supported; use a local disk"):
        FolderLock(tmp_path)
