import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from expkit.records.integrity import check_record
from expkit.records.shared_record import read_record

LONG = pytest.mark.skipif(not os.environ.get("EXPKIT_LONG"), reason="EXPKIT_LONG=1 runs it: several minutes")
WRITER = Path(__file__).with_name("killed.py")


def test_kill_at_any_time_leaves_a_valid_record(tmp_path: Path) -> None:
    """50 of 50, at any moment of writing; python tests/records/killed.py never finishes a run."""
    draw, statuses = random.Random(0), []
    writer = subprocess.Popen(
        [sys.executable, str(WRITER), str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(WRITER.parents[2])},
    )  # fmt: skip
    with writer:
        kill_its_children(writer, tmp_path, draw)
    for number in range(50):
        faults, _ = check_record(tmp_path / f"run{number}")
        assert faults == [], number
        statuses.append(json.loads((tmp_path / f"run{number}" / "record.json").read_text())["status"])
    assert len(statuses) == 50
    assert set(statuses) <= {"running", "interrupted"}
    assert "running" in statuses


def kill_its_children(writer: subprocess.Popen[str], folder: Path, draw: random.Random) -> None:
    assert writer.stdin
    assert writer.stdout
    for number in range(50):
        print("go", file=writer.stdin, flush=True)
        child = int(writer.stdout.readline())
        deadline = time.monotonic() + 20
        while not (folder / f"run{number}" / "record.json").exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.3))
        os.kill(child, signal.SIGKILL)
    writer.stdin.close()


@LONG
def test_kill_of_a_real_run_at_any_time(tmp_path: Path) -> None:
    """50 of 50 runs of the command, killed at moments from their first second to the midst of training."""
    draw, valid, begun = random.Random(1), 0, 0
    words = ["dataset.size=32", "dataset.train_images=60", "dataset.val_images=20", "model.width=4", "epochs=100000"]
    command = [sys.executable, "-m", "expkit.run", *words, "log_every=1", "dataset.num_workers=0", "logger=none"]
    environment = os.environ | {"PYTHONPATH": str(WRITER.parents[2]), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    for number in range(50):
        place = tmp_path / str(number)
        place.mkdir()
        with open(place / "out", "w") as out:
            running = subprocess.Popen(command, cwd=place, stdout=out, stderr=out, env=environment)
            while not list(place.glob("outputs/shapes*/record.json")):
                assert running.poll() is None, (place / "out").read_text()
                time.sleep(0.002)
            time.sleep(draw.uniform(0, 1.5))
            running.kill()
            running.wait()
        (folder,) = place.glob("outputs/shapes*")
        begun += 1
        status = json.loads((folder / "record.json").read_text())["status"]
        valid += check_record(folder)[0] == [] and status == "running"
        if (folder / "config.yaml").exists():
            read_record(folder)
    assert (begun, valid) == (50, 50)
