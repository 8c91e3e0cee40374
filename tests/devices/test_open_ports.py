"""A run on one machine listens to nobody: what listens can be written to, by every user of the machine or beyond.

Runs of several ranks, which gloo connects through loopback, are in test_ranks.py, the Visdom server in test_visdom.py.
"""

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from tests.devices.starting import family, small, wait_for_step
from tests.forks import Forks
from tests.sockets import listening

CHOICES = [
    ["device=auto", "dataset.num_workers=1"],
    ["device=split", "device.devices=[cpu,cpu]"],
    ["-m", "device=cpu", "seed=0,1"],
    ["-m", "device=cpu", "hydra/sweeper=search", "optimizer.lr=interval(0.001,0.1)"],
]


@pytest.mark.parametrize("words", CHOICES, ids=" ".join)
def test_nothing_listens(words: list[str], commands: Forks, tmp_path: Path) -> None:
    more = [f"output_dir={tmp_path}/out", "epochs=5000", "schedule=constant"]
    running = commands.start(tmp_path, *[word for word in words if word == "-m"], *small(tmp_path, *more), *words)
    try:
        wait_for_step(tmp_path / "out", 5)
        assert listening(running.pid) == set()
    finally:
        for process in family(running.pid):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
